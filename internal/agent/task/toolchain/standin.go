package toolchain

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/Masterminds/semver/v3"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
)

// installedTools is the variable that lets an installed version stand in for one
// that is neither here nor to be had.
const installedTools = "Penstock.InstalledTools"

// standIn is the end of a search without a result: the installed version that is
// nearest, if the run says so, else an error that names what there is.
func (t *tool) standIn(c *task.Context, r request, arch string, have []found, cause error) (found, error) {
	e := fault.New(fault.NotFound, "tool-version", "%s %s (%s) is not installed here", t.name, r.spec, arch).Try("%s", t.install)
	if cause != nil {
		e.Message += " and could not be fetched"
		e.Err = cause
	}
	if len(have) == 0 {
		return found{}, e.Got("no %s", t.name)
	}
	near := nearest(have, r.spec)
	if allowed, _ := c.Lookup(installedTools); strings.EqualFold(allowed, "true") {
		c.Warn("%s %s stands in for %s: %s", t.name, near.version, r.spec, e.Error())
		return near, nil
	}
	var names []string
	for _, f := range have {
		names = append(names, fmt.Sprintf("%s (%s)", f.version, f.where))
	}
	return found{}, e.Got("%s", strings.Join(names, ", ")).Try("%s; or let %s stand in, with a warning: penstock run --installed-tools (on a server: variable %s = true)", t.install, near.version, installedTools)
}

// nearest is the oldest version that is newer than what was asked for, else the
// newest.
func nearest(have []found, spec string) found {
	wanted, err := semver.NewVersion(cmp.Or(leading.FindString(spec), "999999"))
	best := have[0]
	for _, f := range have { // the newest first
		if err == nil && !f.version.LessThan(wanted) {
			best = f
		}
	}
	return best
}

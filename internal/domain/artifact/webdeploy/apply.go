package webdeploy

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
)

// ApplyOptions say how a package becomes a folder.
type ApplyOptions struct {
	Target            string            // the folder; made if missing
	SetParameters     map[string]string // win over the file
	SetParametersFile string            // a SetParameters.xml; "" for none
	// RemoveAdditionalFiles deletes what the package does not have.
	RemoveAdditionalFiles bool
	// TakeAppOffline puts app_offline.htm into the folder while it is replaced.
	TakeAppOffline bool
	// Skip are paths relative to the target, with the wildcards of path.Match.
	// They and all below them are left as they are: neither written nor deleted.
	Skip []string
}

// Report is what Apply did. It never holds a parameter's value except the name
// of the application, which is an address.
type Report struct {
	Added, Updated, Deleted, Unchanged int
	Application                        string   // "IIS Web Application Name", if the package asks for it
	Warnings                           []string // what was passed over
}

const offlineFile = "app_offline.htm"

// Apply writes a package's content to the target folder. The folder changes as
// a whole, at the end; if anything fails before, it is as it was.
func Apply(ctx context.Context, p *Package, o ApplyOptions) (Report, error) {
	var report Report
	if err := p.manifest.check(); err != nil {
		return report, err
	}
	for _, pattern := range o.Skip {
		if _, err := path.Match(pattern, ""); err != nil {
			return report, fault.Wrap(err, fault.Invalid, "skip-invalid", "a path to skip cannot be read").Got("%s", pattern)
		}
	}
	given, err := givenParameters(o)
	if err != nil {
		return report, err
	}
	values, err := resolve(p.parameters, given)
	if err != nil {
		return report, err
	}
	changes, err := p.bind(values, &report)
	if err != nil {
		return report, err
	}
	p.manifest.each(func(pr Provider) {
		if strings.EqualFold(pr.Name, "setAcl") {
			report.Warnings = append(report.Warnings, "setAcl was passed over: Windows permissions mean nothing here")
		}
	})
	s, err := openStage(p, o, &report)
	if err != nil {
		return report, err
	}
	defer s.discard()
	if err := s.write(ctx, changes); err != nil {
		return report, applyError(err)
	}
	if err := s.carry(ctx); err != nil {
		return report, applyError(err)
	}
	if err := s.replace(); err != nil {
		return report, applyError(err)
	}
	return report, nil
}

// givenParameters merges the file with the values that were given directly.
func givenParameters(o ApplyOptions) (map[string]string, error) {
	given := map[string]string{}
	if o.SetParametersFile != "" {
		f, err := os.Open(o.SetParametersFile)
		if err != nil {
			return nil, fault.Wrap(err, fault.Invalid, "parameters-unreadable", "the file with parameters cannot be opened").At("%s", o.SetParametersFile)
		}
		defer func() { _ = f.Close() }()
		if given, err = ReadSetParameters(f); err != nil {
			return nil, err
		}
	}
	for name, value := range o.SetParameters {
		given[name] = value
	}
	return given, nil
}

func applyError(err error) error {
	var e *fault.Error
	if errors.As(err, &e) {
		return err
	}
	return fault.Wrap(err, fault.Unavailable, "apply-failed", "the package could not be applied").
		Try("correct the cause and apply it again; the folder holds the old content")
}

// stage is the new content beside the target. All access goes through a root
// that confines it to the folder both are in.
type stage struct {
	p      *Package
	o      ApplyOptions
	report *Report
	root   *os.Root
	parent string          // path of root
	base   string          // name of the target in root
	fresh  string          // name of the staged folder in root
	had    bool            // the target existed
	files  map[string]bool // written from the package
}

func openStage(p *Package, o ApplyOptions, report *Report) (*stage, error) {
	target, err := filepath.Abs(o.Target)
	if err == nil && o.Target == "" {
		err = errors.New("no target folder is given")
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "target-invalid", "the target folder cannot be used")
	}
	// A link to the folder stays a link: what it leads to is replaced.
	if real, err := filepath.EvalSymlinks(target); err == nil {
		target = real
	}
	s := &stage{p: p, o: o, report: report, parent: filepath.Dir(target), base: filepath.Base(target), files: map[string]bool{}}
	s.fresh = "." + s.base + ".penstock-" + id.Secret(6)
	if err := os.MkdirAll(s.parent, 0o755); err != nil {
		return nil, applyError(err)
	}
	if s.root, err = os.OpenRoot(s.parent); err != nil {
		return nil, applyError(err)
	}
	info, err := s.root.Lstat(s.base)
	switch {
	case err == nil && info.IsDir():
		s.had = true
	case err == nil || !errors.Is(err, fs.ErrNotExist):
		_ = s.root.Close()
		return nil, fault.New(fault.Invalid, "target-invalid", "the target is not a folder").At("%s", target)
	}
	return s, nil
}

// discard removes what is left beside the target: the staged content after a
// failure, the old content after success.
func (s *stage) discard() {
	_ = s.root.RemoveAll(s.fresh)
	_ = s.root.Close()
}

// replace exchanges the staged folder with the target.
func (s *stage) replace() error {
	if !s.had {
		return s.root.Rename(s.fresh, s.base)
	}
	offline := s.base + "/" + offlineFile
	if s.o.TakeAppOffline {
		page := []byte("<!doctype html><title>One moment</title><p>A new version is being put in place.</p>\n")
		if _, err := s.root.Lstat(offline); errors.Is(err, fs.ErrNotExist) {
			if err := s.root.WriteFile(offline, page, 0o644); err != nil {
				return err
			}
		}
	}
	err := exchange(s.root, s.parent, s.fresh, s.base)
	if err != nil && s.o.TakeAppOffline {
		_ = s.root.Remove(offline)
	}
	return err
}

// skipped reports whether a path or a folder above it is to be left alone.
func (s *stage) skipped(rel string) bool {
	for at := rel; at != "." && at != ""; at = path.Dir(at) {
		for _, pattern := range s.o.Skip {
			if ok, _ := path.Match(strings.ToLower(strings.Trim(pattern, "/")), strings.ToLower(at)); ok {
				return true
			}
		}
	}
	return false
}

package pages

import (
	"fmt"
	"strings"

	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/run"
)

var checkNames = map[environment.CheckType]string{environment.ApprovalCheck: "Approval", environment.ExclusiveLockCheck: "Exclusive lock",
	environment.BranchControlCheck: "Branch control", environment.BusinessHoursCheck: "Business hours"}

func checkName(c *environment.Check) string {
	if n := checkNames[c.Type]; n != "" {
		return n
	}
	return string(c.Type)
}

func checkIcon(c *environment.Check) string {
	if c.Type == environment.ApprovalCheck {
		return "person"
	}
	return "check"
}

// CheckText says what a check asks for.
func CheckText(c *environment.Check) string {
	s := c.Settings
	switch c.Type {
	case environment.ApprovalCheck:
		names := make([]string, 0, len(s.Approvers))
		for _, a := range s.Approvers {
			names = append(names, a.Name)
		}
		need := "all of "
		if s.Minimum > 0 && s.Minimum < len(names) {
			need = fmt.Sprintf("%d of ", s.Minimum)
		}
		if len(names) == 1 {
			need = ""
		}
		out := "Waits for " + need + strings.Join(names, ", ")
		if !s.AllowSelf {
			out += "; not for who requested the run"
		}
		return out + "."
	case environment.BranchControlCheck:
		return "Only " + strings.Join(s.Branches, ", ") + "."
	case environment.BusinessHoursCheck:
		return fmt.Sprintf("%s, %s to %s %s.", strings.Join(s.Days, ", "), s.From, s.To, s.Zone)
	case environment.ExclusiveLockCheck:
		return "One stage at a time; the newest of a pipeline goes first."
	}
	return ""
}

// DeploymentMark is how a deployment looks.
func DeploymentMark(d *environment.Deployment) Mark {
	if d.Result == "" {
		return Mark{"run", "run", "Deploying"}
	}
	return StateMark(run.Completed, run.Result(d.Result))
}

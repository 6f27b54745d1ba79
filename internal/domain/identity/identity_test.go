package identity

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/memstore"
	"penstock.dev/penstock/internal/domain/audit"
)

func newService(now func() time.Time) *Service {
	tx := &memstore.Runner{}
	return NewService(Store{Users: memstore.NewTable[User](tx, "User"), Groups: memstore.NewTable[Group](tx, "Group"), Grants: memstore.NewTable[Grant](tx, "Grant"), Tokens: memstore.NewTable[Token](tx, "Token")},
		tx, &audit.Service{Records: memstore.NewTable[audit.Record](tx, "audit.Record"), Tx: tx, Clock: now}, now)
}

var all = []Permission{Anyone, SignedIn, ProjectView, CodeWrite, RunQueue, ArtifactWrite, Approve, Release, ProjectEdit, SecretWrite, SecretRead, ProjectCreate, AgentManage, UserManage, AuditRead, AgentConnection}

// Each role holds what the one below it holds, on its own project only.
func TestRolesRise(t *testing.T) {
	for _, p := range all {
		held := false
		for _, role := range Roles {
			s := Subject{Kind: UserKind, ID: "u"}.WithGrants(Grant{ProjectID: "p1", Role: role})
			can := Can(s, p, "p1")
			if held && !can {
				t.Errorf("%s: a lower role than %s has it, %s does not", p, role, role)
			}
			held = can
			if p != Anyone && p != SignedIn && Can(s, p, "p2") {
				t.Errorf("%s of p1 has %s on p2", role, p)
			}
		}
	}
}

func TestNobodyAndMachines(t *testing.T) {
	for _, p := range all {
		if p != Anyone && Can(Subject{}, p, "p1") {
			t.Errorf("nobody has %s", p)
		}
		agent := Subject{Kind: AgentKind, ID: "a"}
		if want := p == Anyone || p == SignedIn || p == AgentConnection; Can(agent, p, "p1") != want {
			t.Errorf("an agent and %s: %v, want %v", p, !want, want)
		}
		job := Subject{Kind: JobKind, ID: "j", Project: "p1"}
		if p != Anyone && p != SignedIn && Can(job, p, "p2") {
			t.Errorf("a job of p1 has %s on p2", p)
		}
		if slices.Contains([]Permission{CodeWrite, RunQueue, Approve, ProjectEdit, SecretRead, SecretWrite, UserManage}, p) && Can(job, p, "p1") {
			t.Errorf("a job has %s", p)
		}
		job.writes = true
		if p != Anyone && p != SignedIn && Can(job, p, "p2") || p == CodeWrite && !Can(job, p, "p1") || slices.Contains([]Permission{RunQueue, Approve, ProjectEdit, SecretRead, SecretWrite, UserManage}, p) && Can(job, p, "p1") {
			t.Errorf("%s of a job that may push: %v on its project, %v on another", p, Can(job, p, "p1"), Can(job, p, "p2"))
		}
	}
	if Can(Subject{Kind: UserKind}.WithGrants(Grant{Role: ServerAdministrator}), Permission("made.up"), "p1") {
		t.Error("an unknown permission is held")
	}
}

func TestScopesNarrow(t *testing.T) {
	s := Subject{Kind: UserKind, Scopes: []string{"run:write"}}.WithGrants(Grant{Role: ServerAdministrator})
	for p, want := range map[Permission]bool{RunQueue: true, ProjectView: true, CodeWrite: false, UserManage: false, SecretRead: false} {
		if Can(s, p, "p1") != want {
			t.Errorf("scope run:write and %s: %v, want %v", p, !want, want)
		}
	}
}

func TestPasswords(t *testing.T) {
	ctx := context.Background()
	s := newService(nil)
	u, err := s.CreateUser(ctx, "Ada", "", "a-good-password")
	if err != nil || u.Name != "ada" || !strings.HasPrefix(u.PasswordHash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("%+v, %v", u, err)
	}
	if got, err := s.SignIn(ctx, "ADA", "a-good-password"); err != nil || got.ID != u.ID {
		t.Errorf("the right password: %v", err)
	}
	_, wrong := s.SignIn(ctx, "ada", "a-bad-password")
	_, nobody := s.SignIn(ctx, "nobody", "a-bad-password")
	if !fault.Is(wrong, fault.Denied) || nobody == nil || wrong.Error() != nobody.Error() {
		t.Errorf("a wrong password says %q, a wrong name %q", wrong, nobody)
	}
	if _, err := s.CreateUser(ctx, "bob", "", "short"); fault.CodeOf(err) != "password-too-short" {
		t.Errorf("a short password: %v", err)
	}
	if err := s.SetPassword(ctx, "ada", "another-password"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SignIn(ctx, "ada", "a-good-password"); err == nil {
		t.Error("the old password still works")
	}
	if a, b := RandomPassword(), RandomPassword(); a == b || strings.Count(a, "-") != 5 {
		t.Errorf("first passwords %q, %q", a, b)
	}
}

func TestTokens(t *testing.T) {
	ctx := context.Background()
	now := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	s := newService(func() time.Time { return now })
	u, err := s.CreateUser(ctx, "ada", "", "")
	if err != nil {
		t.Fatal(err)
	}
	secret, stored, err := s.IssueToken(ctx, Token{Kind: PersonalToken, OwnerID: u.ID, Name: "laptop", Expires: now.Add(time.Hour)})
	if err != nil || !strings.HasPrefix(secret, "pst_") || strings.Contains(stored.Hash, secret) {
		t.Fatalf("%q, %+v, %v", secret, stored, err)
	}
	if sub, err := s.SubjectOf(ctx, secret); err != nil || sub.ID != u.ID {
		t.Errorf("%+v, %v", sub, err)
	}
	now = now.Add(2 * time.Hour)
	if _, err := s.SubjectOf(ctx, secret); !fault.Is(err, fault.Denied) {
		t.Errorf("an expired token: %v", err)
	}
	join, _, err := s.IssueToken(ctx, Token{Kind: JoinToken})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.SubjectOf(ctx, join); !fault.Is(err, fault.Denied) {
		t.Errorf("a join token signs in: %v", err)
	}
	if _, _, err := s.IssueToken(ctx, Token{Kind: PersonalToken, OwnerID: u.ID, Scopes: []string{"everything"}}); fault.CodeOf(err) != "unknown-scope" {
		t.Errorf("an unknown scope: %v", err)
	}
}

func TestCheckName(t *testing.T) {
	for name, want := range map[string]bool{"shop": true, "Release Managers": true, "a.b-c_d": true, "": false, "-x": false, ".x": false, "a..b": false, "a/b": false, "x.": false, strings.Repeat("x", 65): false} {
		if (CheckName("name", name) == nil) != want {
			t.Errorf("CheckName(%q): usable %v, want %v", name, !want, want)
		}
	}
}

func TestCheckTitle(t *testing.T) {
	for _, name := range []string{"dev", "me@host", "Shop (prod)", "a & b + c", "[EU] web", "Größe 1"} {
		if err := CheckTitle("environment", name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", " a", "a ", "../x", "a/b", `a\b`, "-x", "a\nb", "a?b", "a,b", "a;b", "$(x)", strings.Repeat("x", 129), "\xff"} {
		if err := CheckTitle("environment", name); err == nil {
			t.Errorf("%q is in order", name)
		}
	}
}

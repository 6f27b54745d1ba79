package language

import (
	"testing"

	"penstock.dev/penstock/internal/domain/pipeline"
)

func TestAddressOf(t *testing.T) {
	for _, c := range []struct{ kind, name, origin, want string }{
		{"github", "contoso/templates", "", "https://github.com/contoso/templates.git"},
		{"github", "contoso/templates", "git@github.com:contoso/app.git", "git@github.com:contoso/templates.git"},
		{"git", "templates", "https://dev.azure.com/org/shop/_git/app", "https://dev.azure.com/org/shop/_git/templates"},
		{"git", "Platform/templates", "https://ada@dev.azure.com/org/shop/_git/app", "https://ada@dev.azure.com/org/Platform/_git/templates"},
		{"git", "templates", "http://localhost:7420/default/shop/_git/app", "http://localhost:7420/default/shop/_git/templates"},
		{"git", "shop/templates", "git@ssh.dev.azure.com:v3/org/shop/app", "git@ssh.dev.azure.com:v3/org/shop/templates"},
		{"git", "templates", "/srv/git/app.git", "/srv/git/templates"},
		{"git", "shop/templates", "file:///srv/git/app", "file:///srv/git/templates"},
		{"git", "group/templates", "https://git.example.test/other/app.git", "https://git.example.test/group/templates"},
		// Whoever has the name of a project of the service elsewhere is somebody else.
		{"git", "Platform/templates", "https://github.com/contoso/app.git", ""},
		{"git", "contoso/templates", "https://github.com/Contoso/app.git", "https://github.com/contoso/templates"},
		{"git", "templates", "https://github.com/contoso/app.git", "https://github.com/contoso/templates"},
		{"git", "Platform/templates", "git@github.com:contoso/app.git", ""},
		{"git", "contoso/templates", "git@github.com:contoso/app.git", "git@github.com:contoso/templates"},
		{"bitbucket", "contoso/templates", "", "https://bitbucket.org/contoso/templates.git"},
		{"git", "templates", "", ""},
		{"git", "../../etc", "/srv/git/app", ""},
		{"git", "--upload-pack=x", "/srv/git/app", ""},
		{"github", "a/b;c", "", ""},
		{"svn", "a/b", "https://h/x/_git/y", ""},
	} {
		if got := addressOf(pipeline.RepositoryResource{Type: c.kind, Name: c.name}, c.origin); got != c.want {
			t.Errorf("%s %s from %q: %q, want %q", c.kind, c.name, c.origin, got, c.want)
		}
	}
}

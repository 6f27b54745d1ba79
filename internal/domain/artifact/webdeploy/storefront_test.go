package webdeploy

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The example's declarations fit its pages: packed and applied as its pipelines
// do, the title is in place.
func TestStorefrontExample(t *testing.T) {
	example := filepath.Join("..", "..", "..", "..", "examples", "storefront")
	source := t.TempDir()
	if err := os.CopyFS(filepath.Join(source, "web"), os.DirFS(filepath.Join(example, "web"))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(source, "storefront"), []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	parameters, err := os.ReadFile(filepath.Join(example, "deploy", "parameters.xml"))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := Pack(&b, PackOptions{Source: source, Site: "storefront", Parameters: bytes.NewReader(parameters)}); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(t.TempDir(), "site")
	r, err := Apply(t.Context(), open(t, file(t, b.Bytes())), ApplyOptions{
		Target: target, SetParametersFile: filepath.Join(example, "deploy", "storefront.SetParameters.xml"),
		RemoveAdditionalFiles: true, TakeAppOffline: true,
	})
	if err != nil || r.Application != "storefront" || len(r.Warnings) != 0 {
		t.Fatalf("%+v %v", r, err)
	}
	if got := tree(t, target)["web/shop.xml"]; !strings.Contains(got, "<title>Kitchen Storefront</title>") {
		t.Errorf("shop.xml: %s", got)
	}
	if info, err := os.Stat(filepath.Join(target, "storefront")); err != nil || info.Mode()&fs.FileMode(0o111) == 0 {
		t.Errorf("the program cannot be started: %v %v", info, err)
	}
}

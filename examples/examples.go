// Package examples holds the sample applications as archives, because a folder
// with a module of its own cannot be embedded. `go test ./examples -update`
// makes them again.
package examples

import (
	"archive/zip"
	"bytes"
	_ "embed"
)

//go:generate go test . -update

//go:embed storefront.zip
var storefront []byte

// Storefront returns the files of examples/storefront.
func Storefront() (*zip.Reader, error) {
	return zip.NewReader(bytes.NewReader(storefront), int64(len(storefront)))
}

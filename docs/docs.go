// Package docs holds the documents that the program itself prints.
package docs

import _ "embed"

// Errors is errors.md: a section for every code.
//
//go:embed errors.md
var Errors string

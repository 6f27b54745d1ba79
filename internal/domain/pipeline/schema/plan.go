package schema

import (
	"bytes"
	"encoding/json"

	"github.com/invopop/jsonschema"

	"penstock.dev/penstock/internal/domain/pipeline"
)

// Plan is the JSON Schema (2020-12) of the plan that `penstock expand --plan`
// prints, read off the types it is made of.
func Plan() []byte {
	r := jsonschema.Reflector{Anonymous: true, AllowAdditionalProperties: true} // fields may be added without a new version
	s := r.Reflect(&pipeline.Plan{})
	s.Title = "Penstock plan"
	s.Description = "An expanded pipeline: what a run carries out. version grows when a field changes its meaning."
	if v, ok := s.Definitions["Plan"].Properties.Get("version"); ok {
		v.Const = pipeline.PlanVersion
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	_ = e.Encode(s) // a schema always encodes
	return b.Bytes()
}

package webdeploy

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
)

// Parameter is a value that is filled in when the package is applied.
type Parameter struct {
	Name        string
	Description string
	Default     string
	HasDefault  bool
	Tags        []string
	Entries     []Entry
	Validation  *Validation
}

// Entry says where a value goes.
type Entry struct {
	Kind  string `xml:"kind,attr"`
	Scope string `xml:"scope,attr"`
	Match string `xml:"match,attr"`
}

// Validation says what a value may be.
type Validation struct {
	Kind   string `xml:"kind,attr"`
	String string `xml:"validationString,attr"`
}

// xmlParameter is a declaration as it is written. Both spellings of the default
// and of the kind exist.
type xmlParameter struct {
	Name         string  `xml:"name,attr"`
	Description  string  `xml:"description,attr"`
	Value        *string `xml:"value,attr"`
	DefaultValue *string `xml:"defaultValue,attr"`
	Tags         string  `xml:"tags,attr"`
	Entries      []struct {
		Entry
		Type string `xml:"type,attr"`
	} `xml:"parameterEntry"`
	Validation *struct {
		Validation
		Type string `xml:"type,attr"`
	} `xml:"parameterValidation"`
}

// maxManifest bounds parameter files that come from outside a package.
const maxManifest = 16 << 20

// parseParameters reads a declaration.
func parseParameters(r io.Reader) ([]Parameter, error) {
	var doc struct {
		XMLName    xml.Name       `xml:"parameters"`
		Parameters []xmlParameter `xml:"parameter"`
	}
	if err := decode(r, parametersEntry, &doc); err != nil {
		return nil, err
	}
	var out []Parameter
	seen := map[string]bool{}
	for _, x := range doc.Parameters {
		if x.Name == "" || seen[x.Name] {
			return nil, badXML(parametersEntry, errors.New("a parameter without a name, or with one that is taken: "+x.Name))
		}
		seen[x.Name] = true
		p := Parameter{Name: x.Name, Description: x.Description}
		for _, d := range []*string{x.Value, x.DefaultValue} {
			if d != nil {
				p.Default, p.HasDefault = *d, true
			}
		}
		for tag := range strings.SplitSeq(x.Tags, ",") {
			if tag = strings.TrimSpace(tag); tag != "" {
				p.Tags = append(p.Tags, tag)
			}
		}
		for _, e := range x.Entries {
			if e.Kind == "" {
				e.Kind = e.Type
			}
			p.Entries = append(p.Entries, e.Entry)
		}
		if v := x.Validation; v != nil {
			if v.Kind == "" {
				v.Kind = v.Type
			}
			p.Validation = &v.Validation
		}
		out = append(out, p)
	}
	return out, nil
}

// ReadSetParameters reads the values of a SetParameters.xml.
func ReadSetParameters(r io.Reader) (map[string]string, error) {
	var doc struct {
		XMLName xml.Name `xml:"parameters"`
		Set     []struct {
			Name  string `xml:"name,attr"`
			Value string `xml:"value,attr"`
		} `xml:"setParameter"`
	}
	if err := decode(r, "SetParameters.xml", &doc); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, s := range doc.Set {
		if s.Name == "" {
			return nil, badXML("SetParameters.xml", errors.New("a setParameter has no name"))
		}
		out[s.Name] = s.Value
	}
	return out, nil
}

// decode reads one XML document without a document type into v.
func decode(r io.Reader, where string, v any) error {
	data, err := io.ReadAll(io.LimitReader(r, maxManifest+1))
	if err != nil {
		return badXML(where, err)
	}
	if len(data) > maxManifest {
		return tooLarge("bytes in "+where, maxManifest, "more")
	}
	check, depth := newDecoder(data), 0
	for {
		t, err := check.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return badXML(where, err)
		}
		switch t.(type) {
		case xml.Directive:
			return badXML(where, errors.New("a document type is not allowed"))
		case xml.StartElement:
			depth++
		case xml.EndElement:
			depth--
		}
		if depth > maxDepth {
			return badXML(where, errors.New("too deeply nested"))
		}
	}
	if err := newDecoder(data).Decode(v); err != nil {
		return badXML(where, err)
	}
	return nil
}

// resolve gives every parameter its value. No error mentions a value: it may be
// a secret.
func resolve(declared []Parameter, given map[string]string) (map[string]string, error) {
	byName := map[string]Parameter{}
	var names []string
	for _, p := range declared {
		byName[p.Name] = p
		names = append(names, p.Name)
	}
	for name := range given {
		if _, ok := byName[name]; !ok {
			return nil, fault.New(fault.Invalid, "parameter-unknown", "the package has no parameter %q", name).
				Want("%s", strings.Join(names, ", ")).Got("%s", name).Try("correct the name, or declare the parameter in parameters.xml")
		}
	}
	r := resolver{byName: byName, given: given, done: map[string]string{}}
	for _, p := range declared {
		value, err := r.value(p.Name)
		if err != nil {
			return nil, err
		}
		if err := p.validate(value); err != nil {
			return nil, err
		}
	}
	return r.done, nil
}

// resolver fills in defaults, in which {Name} stands for another value.
type resolver struct {
	byName map[string]Parameter
	given  map[string]string
	done   map[string]string
	path   []string
}

func (r *resolver) value(name string) (string, error) {
	if v, ok := r.done[name]; ok {
		return v, nil
	}
	if v, ok := r.given[name]; ok {
		r.done[name] = v
		return v, nil
	}
	p := r.byName[name]
	if !p.HasDefault {
		return "", fault.New(fault.Invalid, "parameter-missing", "parameter %q has no value", name).
			Want("a value in SetParameters.xml, or a default in the package").
			Try(`add <setParameter name="%s" value="…"/>`, name)
	}
	if slices.Contains(r.path, name) {
		return "", fault.New(fault.Invalid, "parameter-cycle", "parameter %q is made of itself", name).
			Got("%s", strings.Join(append(r.path, name), " → "))
	}
	r.path = append(r.path, name)
	defer func() { r.path = r.path[:len(r.path)-1] }()
	var out strings.Builder
	for rest := p.Default; ; {
		before, after, open := strings.Cut(rest, "{")
		out.WriteString(before)
		if !open {
			break
		}
		inner, tail, closed := strings.Cut(after, "}")
		if _, known := r.byName[inner]; !closed || !known {
			out.WriteByte('{') // an unknown name is plain text
			rest = after
			continue
		}
		v, err := r.value(inner)
		if err != nil {
			return "", err
		}
		out.WriteString(v)
		if out.Len() > 1<<20 {
			return "", tooLarge("bytes in parameter "+name, 1<<20, "more")
		}
		rest = tail
	}
	r.done[name] = out.String()
	return r.done[name], nil
}

// validate checks a value against the declaration.
func (p Parameter) validate(value string) error {
	if p.Validation == nil {
		return nil
	}
	kinds := strings.Split(strings.ToLower(p.Validation.Kind), ",")
	if value == "" && slices.Contains(kinds, "allowempty") {
		return nil
	}
	refuse := func(want string) error {
		return fault.New(fault.Invalid, "parameter-invalid", "parameter %q has a value that the package does not allow", p.Name).Want("%s", want)
	}
	for _, kind := range kinds {
		switch strings.TrimSpace(kind) {
		case "boolean":
			if value != "True" && value != "False" {
				return refuse("True or False")
			}
		case "enumeration":
			if !slices.Contains(strings.Split(p.Validation.String, ","), value) {
				return refuse("one of " + p.Validation.String)
			}
		case "regularexpression":
			re, err := compile(p.Validation.String)
			if err != nil {
				return err
			}
			if !re.MatchString(value) {
				return refuse("a value that matches " + p.Validation.String)
			}
		}
	}
	return nil
}

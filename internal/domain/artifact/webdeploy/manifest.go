package webdeploy

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
)

// Manifest is what archive.xml says: the providers in their order.
type Manifest struct {
	Root      string // name of the root element
	Source    string // path of the content on the machine that made the package
	Providers []Provider
}

// Provider is one thing to deploy, with its parts.
type Provider struct {
	Name     string
	Path     string
	Children []Provider
}

// supported are the providers that mean something without IIS. The value says
// whether the provider holds content; the others are noted and passed over.
var supported = map[string]bool{
	"iisapp": true, "contentpath": true, "dirpath": true, "msdeploy.dirpath": true,
	"createapp": false, "setacl": false,
}

// maxDepth bounds the nesting of manifests.
const maxDepth = 32

var bom = []byte("\xef\xbb\xbf")

// newDecoder reads XML in UTF-8, with or without a byte order mark.
func newDecoder(data []byte) *xml.Decoder {
	d := xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(data, bom)))
	d.CharsetReader = func(label string, in io.Reader) (io.Reader, error) {
		if strings.EqualFold(label, "utf-8") || strings.EqualFold(label, "us-ascii") {
			return in, nil
		}
		return nil, errors.New("the encoding " + label + " is not supported, only UTF-8")
	}
	return d
}

// parseManifest reads archive.xml. Attributes other than path are opaque; the
// serialized provider options in particular are never decoded.
func parseManifest(data []byte) (Manifest, error) {
	d := newDecoder(data)
	var stack []*Provider
	root := &Provider{}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Manifest{}, badXML(archiveEntry, err)
		}
		switch e := token.(type) {
		case xml.Directive:
			return Manifest{}, badXML(archiveEntry, errors.New("a document type is not allowed"))
		case xml.StartElement:
			if len(stack) >= maxDepth {
				return Manifest{}, badXML(archiveEntry, errors.New("too deeply nested"))
			}
			p := &Provider{Name: e.Name.Local}
			for _, a := range e.Attr {
				if a.Name.Local == "path" && a.Name.Space == "" {
					p.Path = a.Value
				}
			}
			stack = append(stack, p)
		case xml.EndElement:
			p := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			above := root
			if len(stack) > 0 {
				above = stack[len(stack)-1]
			}
			above.Children = append(above.Children, *p)
		}
	}
	if len(root.Children) != 1 {
		return Manifest{}, badXML(archiveEntry, errors.New("there is no root element"))
	}
	m := Manifest{Root: root.Children[0].Name, Providers: root.Children[0].Children}
	if sources := m.contentPaths(); len(sources) == 1 {
		m.Source = sources[0]
	}
	return m, nil
}

// contentPaths returns the different paths that content providers name.
func (m Manifest) contentPaths() []string {
	var out []string
	seen := map[string]bool{}
	m.each(func(p Provider) {
		key := strings.ToLower(strings.TrimRight(p.Path, `\/`))
		if supported[strings.ToLower(p.Name)] && key != "" && !seen[key] {
			seen[key] = true
			out = append(out, p.Path)
		}
	})
	return out
}

// each calls f for every provider, parents first.
func (m Manifest) each(f func(Provider)) {
	var walk func([]Provider)
	walk = func(list []Provider) {
		for _, p := range list {
			f(p)
			walk(p.Children)
		}
	}
	walk(m.Providers)
}

// check refuses what cannot be applied here, by name.
func (m Manifest) check() error {
	var refused []string
	m.each(func(p Provider) {
		if _, ok := supported[strings.ToLower(p.Name)]; !ok {
			refused = append(refused, p.Name)
		}
	})
	if len(refused) > 0 {
		return fault.New(fault.Invalid, "provider-unsupported", "the package needs what this machine does not have").
			At("%s", archiveEntry).Want("iisApp, contentPath, dirPath; createApp and setAcl are passed over").
			Got("%s", strings.Join(refused, ", ")).
			Try("leave these providers out of the package, or apply it with msdeploy on a Windows agent")
	}
	if paths := m.contentPaths(); len(paths) != 1 {
		return fault.New(fault.Invalid, "content-roots", "the package cannot be applied to one folder").
			At("%s", archiveEntry).Want("one content path").Got("%d: %s", len(paths), strings.Join(paths, ", "))
	}
	return nil
}

// encodePath is the folder below Content that holds a provider's files: the
// drive C: becomes C_C, an IIS path stays as it is.
func encodePath(path string) (string, error) {
	if strings.HasPrefix(path, `\\`) {
		return "", fault.New(fault.Invalid, "content-roots", "content of a network share is not supported").At("%s", archiveEntry).Got("%s", path)
	}
	p := strings.Trim(strings.ReplaceAll(path, `\`, "/"), "/")
	if len(p) >= 2 && p[1] == ':' {
		p = p[:1] + "_" + p[:1] + p[2:]
	}
	return p, nil
}

func badXML(where string, err error) error {
	return fault.Wrap(err, fault.Invalid, "package-xml", "%s cannot be read", where)
}

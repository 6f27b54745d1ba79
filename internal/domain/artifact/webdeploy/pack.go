package webdeploy

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
)

// PackOptions say what becomes a package.
type PackOptions struct {
	Source     string    // the folder
	Site       string    // default of the parameter "IIS Web Application Name"
	Parameters io.Reader // a parameters.xml to declare; nil declares none
}

// pseudoSource stands for the folder in the manifest, so that a package does not
// depend on where it was made. Scopes of parameters are matched against it.
const (
	pseudoSource  = `C:\app\`
	contentPrefix = contentFolder + "C_C/app/"
	siteParameter = "IIS Web Application Name"
	zipEpoch      = 0x21 // 1 January 1980, the oldest date a zip can tell
)

// packedFile is one file or folder on its way into a package.
type packedFile struct {
	rel    string
	folder bool
	list   listEntry
}

// Pack writes a package and returns its digest.
func Pack(w io.Writer, o PackOptions) (string, error) {
	if o.Site == "" {
		return "", fault.New(fault.Invalid, "site-missing", "a package needs the name of a site").Try("give site: storefront")
	}
	var declared []Parameter
	if o.Parameters != nil {
		var err error
		if declared, err = parseParameters(o.Parameters); err != nil {
			return "", err
		}
	}
	root, err := os.OpenRoot(o.Source)
	if err != nil {
		return "", fault.Wrap(err, fault.Invalid, "source-missing", "the folder to pack cannot be opened").At("%s", o.Source)
	}
	defer func() { _ = root.Close() }()
	files, err := scan(root)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	z := zip.NewWriter(io.MultiWriter(w, hash))
	z.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) { return flate.NewWriter(out, 6) })
	if err := writeAll(z, root, files, withSite(declared, o.Site)); err != nil {
		return "", err
	}
	if err := z.Close(); err != nil {
		return "", packFailed(err)
	}
	return "sha256:" + hex.EncodeToString(hash.Sum(nil)), nil
}

// scan lists the folder in the order of its paths and hashes every file.
func scan(root *os.Root) ([]packedFile, error) {
	var out []packedFile
	err := fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		if err := checkName(path, path); err != nil {
			return err
		}
		if d.IsDir() {
			out = append(out, packedFile{rel: path, folder: true})
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fault.New(fault.Invalid, "not-a-file", "only files and folders can be packed").At("%s", path).Got("%s", info.Mode().Type())
		}
		f, err := root.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		sum := sha256.New()
		n, err := io.Copy(sum, f)
		out = append(out, packedFile{rel: path, list: listEntry{
			Path: path, Size: n, SHA256: hex.EncodeToString(sum.Sum(nil)), Executable: info.Mode()&0o111 != 0,
		}})
		return err
	})
	if err != nil {
		if fault.KindOf(err) != fault.Internal {
			return nil, err
		}
		return nil, packFailed(err)
	}
	if len(out) > defaultLimits.entries-8 {
		return nil, tooLarge("files", defaultLimits.entries-8, len(out))
	}
	slices.SortFunc(out, func(a, b packedFile) int { return strings.Compare(a.rel, b.rel) })
	folded := map[string]string{}
	for _, f := range out {
		key := strings.ToLower(f.rel)
		if other, twice := folded[key]; twice {
			return nil, badEntry(f.rel, "names that differ by more than capitals", other)
		}
		folded[key] = f.rel
	}
	return out, nil
}

func writeAll(z *zip.Writer, root *os.Root, files []packedFile, parameters []Parameter) error {
	list := fileList{Version: 1, Files: []listEntry{}}
	for _, f := range files {
		if !f.folder {
			list.Files = append(list.Files, f.list)
		}
	}
	listed, err := json.MarshalIndent(list, "", " ")
	if err != nil {
		return packFailed(err)
	}
	for _, e := range []struct {
		name string
		data []byte
	}{
		{archiveEntry, archiveXML()}, {parametersEntry, parametersXML(parameters)},
		{systemEntry, systemXML()}, {filesEntry, append(listed, '\n')},
	} {
		if err := writeEntry(z, e.name, bytes.NewReader(e.data)); err != nil {
			return err
		}
	}
	for _, f := range files {
		if f.folder {
			if err := writeEntry(z, contentPrefix+f.rel+"/", nil); err != nil {
				return err
			}
			continue
		}
		from, err := root.Open(f.rel)
		if err != nil {
			return packFailed(err)
		}
		sum := sha256.New()
		err = writeEntry(z, contentPrefix+f.rel, io.TeeReader(from, sum))
		_ = from.Close()
		if err != nil {
			return err
		}
		if hex.EncodeToString(sum.Sum(nil)) != f.list.SHA256 {
			return fault.New(fault.Conflict, "source-changed", "a file changed while it was packed").At("%s", f.rel).Try("pack again when the build is done")
		}
	}
	return nil
}

// writeEntry writes one entry with nothing in its header that could differ.
func writeEntry(z *zip.Writer, name string, from io.Reader) error {
	h := &zip.FileHeader{Name: name, Method: zip.Deflate}
	if from == nil {
		h.Method = zip.Store
	}
	// The deprecated field on purpose: Modified would add an extra field.
	h.ModifiedDate = zipEpoch //nolint:staticcheck
	to, err := z.CreateHeader(h)
	if err == nil && from != nil {
		_, err = io.Copy(to, from)
	}
	if err != nil {
		return packFailed(err)
	}
	return nil
}

// withSite adds the parameter that every deployment task sets.
func withSite(declared []Parameter, site string) []Parameter {
	for _, p := range declared {
		if p.Name == siteParameter {
			return declared
		}
	}
	return append([]Parameter{{
		Name: siteParameter, Description: "Site, or site and application, to deploy to", Default: site, HasDefault: true,
		Tags: []string{"IisApp"}, Entries: []Entry{{Kind: "ProviderPath", Scope: "IisApp", Match: `^C:\\app\\$`}},
	}}, declared...)
}

func archiveXML() []byte {
	path := escape(pseudoSource)
	return []byte(string(bom) + `<?xml version="1.0" encoding="utf-8"?>
<sitemanifest MSDeploy.ObjectResolver.createApp="Microsoft.Web.Deployment.CreateApplicationObjectResolver" MSDeploy.ObjectResolver.dirPath="Microsoft.Web.Deployment.DirPathObjectResolver" MSDeploy.ObjectResolver.filePath="Microsoft.Web.Deployment.FilePathObjectResolver">
  <iisApp path="` + path + `" MSDeploy.path="2" MSDeploy.MSDeployLinkName="Child1" MSDeploy.MSDeployKeyAttributeName="path">
    <createApp path="` + path + `" MSDeploy.path="2" MSDeploy.MSDeployLinkName="createApp" MSDeploy.MSDeployKeyAttributeName="path" />
    <contentPath path="` + path + `" MSDeploy.path="2" MSDeploy.MSDeployLinkName="contentPath" MSDeploy.MSDeployKeyAttributeName="path">
      <MSDeploy.dirPath path="` + path + `" MSDeploy.MSDeployLinkName="contentPath" />
    </contentPath>
  </iisApp>
</sitemanifest>
`)
}

func systemXML() []byte {
	return []byte(string(bom) + `<?xml version="1.0" encoding="utf-8"?>
<systemInfo osVersion="" winDir="" machineName="" processorArchitecture="" msdeployVersion="1.0" buildVersion="7.1.0.0" />
`)
}

// parametersXML writes declarations in one fixed form.
func parametersXML(list []Parameter) []byte {
	var b strings.Builder
	b.Write(bom)
	b.WriteString("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<parameters>\n")
	attribute := func(name, value string) { b.WriteString(" " + name + `="` + escape(value) + `"`) }
	for _, p := range list {
		b.WriteString("  <parameter")
		attribute("name", p.Name)
		if p.Description != "" {
			attribute("description", p.Description)
		}
		if p.HasDefault {
			attribute("defaultValue", p.Default)
		}
		if len(p.Tags) > 0 {
			attribute("tags", strings.Join(p.Tags, ","))
		}
		b.WriteString(">\n")
		if v := p.Validation; v != nil {
			b.WriteString("    <parameterValidation")
			attribute("kind", v.Kind)
			attribute("validationString", v.String)
			b.WriteString(" />\n")
		}
		for _, e := range p.Entries {
			b.WriteString("    <parameterEntry")
			attribute("kind", e.Kind)
			attribute("scope", e.Scope)
			attribute("match", e.Match)
			b.WriteString(" />\n")
		}
		b.WriteString("  </parameter>\n")
	}
	b.WriteString("</parameters>\n")
	return []byte(b.String())
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder does not fail
	return b.String()
}

func packFailed(err error) error {
	return fault.Wrap(err, fault.Invalid, "pack-failed", "the package could not be written")
}

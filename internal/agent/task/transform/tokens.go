// Package transform holds the tasks that put variables into files.
package transform

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
)

func init() {
	task.Register(&task.Task{Name: "replacetokens", Also: []string{"qetza.replacetokens.replacetokens-task.replacetokens"}, Major: []string{"3", "4", "5", "6"}, Run: replaceTokens,
		Defaults: map[string]string{"tokenpattern": "default", "encoding": "auto", "actiononmissing": "warn", "actiononnofiles": "", "includedotpaths": "true", "caseinsensitivepaths": "true"},
		Aliases: map[string]string{"sources": "targetfiles", "root": "rootdirectory", "escape": "escapetype", "missingvarlog": "actiononmissing", "missingvardefault": "defaultvalue",
			"ifnofilesfound": "actiononnofiles", "transforms": "enabletransforms", "recursive": "enablerecursion", "addbom": "writebom"}})
}

// tokens is one run of replacetokens.
type tokens struct {
	c              *task.Context
	prefix, suffix string
	extra          map[string]string // by lower-case name
	open, close    string            // around a transform's argument; "" = none
	escape         string            // of the file at hand

	found, replaced, defaults, transforms, files int
	failed                                       error
}

var tokenForms = map[string][2]string{"default": {"#{", "}#"}, "rm": {"__", "__"}, "azpipelines": {"$(", ")"}, "doublebraces": {"{{", "}}"}, "doubleunderscores": {"__", "__"},
	"githubactions": {"#{{", "}}"}, "octopus": {"#{", "}"}}

func replaceTokens(_ context.Context, c *task.Context) error {
	w := &tokens{c: c}
	form, known := tokenForms[strings.ToLower(c.Input("tokenPattern"))]
	if !known && !strings.EqualFold(c.Input("tokenPattern"), "custom") {
		return fault.New(fault.Invalid, "token-pattern", "there is no tokenPattern %q", c.Input("tokenPattern")).Want("default, azpipelines, custom, doublebraces, doubleunderscores, githubactions or octopus")
	}
	if w.prefix, w.suffix = form[0], form[1]; !known || c.Version == "3" {
		w.prefix, w.suffix = cmp.Or(c.Input("tokenPrefix"), w.prefix), cmp.Or(c.Input("tokenSuffix"), w.suffix)
	}
	if w.prefix == "" || w.suffix == "" {
		return fault.New(fault.Invalid, "token-pattern", "tokenPattern: custom needs tokenPrefix and tokenSuffix")
	}
	if c.Bool("enableTransforms") {
		w.open, w.close = cmp.Or(c.Input("transformsPrefix"), c.Input("transformPrefix"), "("), cmp.Or(c.Input("transformsSuffix"), c.Input("transformSuffix"), ")")
	}
	var err error
	if w.extra, err = additional(c); err != nil {
		return err
	}
	if err := w.all(); err != nil {
		return err
	}
	c.Printf("%d files, %d tokens, %d replaced, %d defaults, %d transforms", w.files, w.found, w.replaced, w.defaults, w.transforms)
	names := [5]string{"files", "tokens", "replaced", "defaults", "transforms"}
	if c.Version != "6" {
		names = [5]string{"fileProcessedCount", "tokenFoundCount", "tokenReplacedCount", "defaultValueCount", "transformExecutedCount"}
	}
	for i, n := range []int{w.files, w.found, w.replaced, w.defaults, w.transforms} {
		c.Output(names[i], strconv.Itoa(n), false)
	}
	return w.failed
}

// all goes through the lines of targetFiles: patterns, separated by semicolons,
// and where the result goes.
func (w *tokens) all() error {
	c := w.c
	root := c.Path(c.Input("rootDirectory"))
	if root == "" {
		root, _ = c.Lookup("System.DefaultWorkingDirectory")
	}
	targets := c.Inputs["targetfiles"]
	if strings.TrimSpace(targets) == "" {
		if c.Version != "3" {
			return fault.New(fault.Invalid, "input-missing", "Input required: targetFiles")
		}
		targets = "**/*.config\n**/*.json"
	}
	o := task.MatchOptions{NoDot: strings.EqualFold(c.Input("includeDotPaths"), "false")}
	for line := range strings.Lines(strings.ReplaceAll(targets, "\r", "")) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		from, to, renamed := strings.Cut(line, "=>")
		patterns := strings.Split(strings.TrimSpace(from), ";")
		found, err := o.Find(root, patterns...)
		if err != nil {
			return err
		}
		n := 0
		for _, file := range found {
			if info, err := os.Stat(file); err != nil || info.IsDir() {
				continue
			}
			n++
			target := file
			if renamed {
				target = outputName(root, file, strings.TrimSpace(patterns[0]), strings.TrimSpace(to))
			}
			if err := w.file(file, target); err != nil {
				return err
			}
		}
		if n == 0 {
			switch text := "no files match " + strings.TrimSpace(from) + " below " + root; strings.ToLower(c.Input("actionOnNoFiles")) {
			case "error", "fail":
				return fault.New(fault.Invalid, "no-files", "%s", text)
			case "warn":
				c.Warn("%s", text)
			default:
				c.Print(text)
			}
		}
	}
	return nil
}

// outputName puts what * matched in the file's name into the output's.
func outputName(root, file, pattern, to string) string {
	name := filepath.Base(filepath.FromSlash(pattern))
	if before, after, ok := strings.Cut(name, "*"); ok && strings.Contains(to, "*") {
		base := filepath.Base(file)
		if strings.HasPrefix(base, before) && strings.HasSuffix(base, after) && len(base) >= len(before)+len(after) {
			to = strings.Replace(to, "*", base[len(before):len(base)-len(after)], 1)
		}
	}
	to = filepath.FromSlash(to)
	switch {
	case filepath.IsAbs(to):
		return to
	case strings.ContainsRune(to, filepath.Separator):
		return filepath.Join(root, to)
	}
	return filepath.Join(filepath.Dir(file), to)
}

func (w *tokens) file(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	text, enc := decode(data)
	w.escape = strings.ToLower(w.c.Input("escapeType"))
	if w.escape == "" && w.c.Version != "3" {
		w.escape = "auto"
	}
	if w.escape == "auto" {
		w.escape = map[string]string{".json": "json", ".jsonc": "json", ".xml": "xml", ".config": "xml"}[strings.ToLower(filepath.Ext(from))]
	}
	before := w.replaced
	w.files++
	text = w.replace(text, nil)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if w.c.Bool("writeBOM") {
		enc.bom = true
	}
	perm := os.FileMode(0o644)
	if info, err := os.Stat(from); err == nil {
		perm = info.Mode().Perm()
	}
	w.c.Printf("%s: %d tokens replaced", to, w.replaced-before)
	return rootfs.ReplaceFile(to, enc.encode(text), perm)
}

// replace puts values in the places of tokens. above are the names whose values
// are being filled.
func (w *tokens) replace(text string, above []string) string {
	var b strings.Builder
	for {
		at := strings.Index(text, w.prefix)
		if at < 0 {
			break
		}
		inner := text[at+len(w.prefix):]
		end := strings.Index(inner, w.suffix)
		if end < 0 {
			break
		}
		name := inner[:end]
		if again := strings.LastIndex(name, w.prefix); again >= 0 || strings.Contains(name, "\n") || strings.TrimSpace(name) == "" {
			skip := len(w.prefix)
			b.WriteString(text[:at+skip])
			text = text[at+skip:]
			continue
		}
		w.found++
		whole := text[at : at+len(w.prefix)+end+len(w.suffix)]
		b.WriteString(text[:at])
		b.WriteString(w.value(strings.TrimSpace(name), whole, above))
		text = text[at+len(whole):]
	}
	return b.String() + text
}

// value is what stands in a token's place.
func (w *tokens) value(name, whole string, above []string) string {
	transform := ""
	if w.open != "" {
		if head, rest, ok := strings.Cut(name, w.open); ok && strings.HasSuffix(rest, w.close) && head != "" {
			transform, name = strings.ToLower(strings.TrimSpace(head)), strings.TrimSpace(strings.TrimSuffix(rest, w.close))
		}
	}
	name, params, _ := strings.Cut(name, ",")
	if transform == "" && params != "" {
		name, params = name+","+params, ""
	}
	for _, a := range above {
		if strings.EqualFold(a, name) {
			w.fail("token " + name + " needs its own value")
			return whole
		}
	}
	value, known := w.extra[strings.ToLower(name)]
	if !known {
		value, known = w.c.Lookup(name)
	}
	if !known {
		return w.missing(name, whole)
	}
	if empty := cmp.Or(w.c.Input("emptyValue"), "(empty)"); w.c.Version != "6" && value == empty {
		value = ""
	}
	w.replaced++
	if w.c.Bool("enableRecursion") {
		value = w.replace(value, append(above, name))
	}
	return w.shape(value, transform, params)
}

func (w *tokens) missing(name, whole string) string {
	if fallback := w.c.Input("defaultValue"); fallback != "" && (w.c.Version != "6" || strings.EqualFold(w.c.Input("missingVarAction"), "replace")) {
		w.defaults++
		return fallback
	}
	switch text := "variable not found: " + name; strings.ToLower(w.c.Input("actionOnMissing")) {
	case "fail", "error":
		w.fail(text)
	case "warn":
		w.c.Warn("%s", text)
	}
	if strings.EqualFold(w.c.Input("missingVarAction"), "keep") || w.c.Bool("keepToken") {
		return whole
	}
	return ""
}

func (w *tokens) fail(text string) {
	w.c.Issue("error", text)
	w.failed = fault.New(fault.Invalid, "tokens-missing", "not all tokens could be replaced")
}

func (w *tokens) shape(value, transform, params string) string {
	if transform != "" {
		w.transforms++
	}
	switch transform {
	case "lower":
		value = strings.ToLower(value)
	case "upper":
		value = strings.ToUpper(value)
	case "base64":
		value = base64.StdEncoding.EncodeToString([]byte(value))
	case "indent":
		size, err := strconv.Atoi(strings.TrimSpace(strings.Split(params, ",")[0]))
		if err != nil || size < 0 || size > 100 {
			size = 2
		}
		value = strings.ReplaceAll(value, "\n", "\n"+strings.Repeat(" ", size))
	case "raw", "noescape":
		return value
	case "":
	default:
		w.c.Warn("unknown transform %s", transform)
	}
	switch w.escape {
	case "json":
		quoted, err := json.Marshal(value)
		if err != nil {
			return value
		}
		return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(quoted[1 : len(quoted)-1]))
	case "xml":
		return xmlEscaper.Replace(value)
	case "custom":
		for _, ch := range w.c.Input("charsToEscape") {
			value = strings.ReplaceAll(value, string(ch), w.c.Input("escapeChar")+string(ch))
		}
	}
	return value
}

var xmlEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;")

var reference = regexp.MustCompile(`^[@$]`)

// additional are variables beside those of the job: written in the step, or in
// files.
func additional(c *task.Context) (map[string]string, error) {
	all := map[string]string{}
	base, _ := c.Lookup("System.DefaultWorkingDirectory")
	readFiles := func(patterns string) error {
		files, err := task.FindFiles(base, strings.FieldsFunc(patterns, func(r rune) bool { return r == ';' || r == '\n' || r == ',' })...)
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				return err
			}
			if err := flattenInto(all, data, f); err != nil {
				return err
			}
		}
		return err
	}
	if err := readFiles(c.Input("variableFiles")); err != nil {
		return nil, err
	}
	var inline []string
	for line := range strings.Lines(c.Inputs["additionalvariables"] + "\n" + c.Inputs["inlinevariables"]) {
		item := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "- "))
		item = strings.Trim(item, `'"`)
		switch {
		case !reference.MatchString(item):
			inline = append(inline, strings.TrimRight(line, "\r\n"))
		case item[0] == '@':
			if err := readFiles(item[1:]); err != nil {
				return nil, err
			}
		default:
			if v, ok := os.LookupEnv(item[1:]); ok {
				if err := flattenInto(all, []byte(v), item); err != nil {
					return nil, err
				}
			}
		}
	}
	return all, flattenInto(all, []byte(strings.Join(inline, "\n")), "additionalVariables")
}

func flattenInto(all map[string]string, data []byte, where string) error {
	var v any
	if err := yaml.Unmarshal(data, &v); err != nil {
		return fault.Wrap(err, fault.Invalid, "variables-unreadable", "the variables of %s cannot be read", where).Want("a mapping in YAML or JSON")
	}
	flatten(all, "", v)
	return nil
}

func flatten(all map[string]string, name string, v any) {
	join := func(key string) string { return strings.TrimPrefix(name+"."+key, ".") }
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			flatten(all, join(k), x)
		}
	case []any:
		for i, x := range v {
			if name == "" { // a list of mappings
				flatten(all, name, x)
			} else {
				flatten(all, join(strconv.Itoa(i)), x)
			}
		}
	case nil:
		if name != "" {
			all[strings.ToLower(name)] = ""
		}
	case string:
		all[strings.ToLower(name)] = v
	default:
		text, err := json.Marshal(v)
		if err == nil && name != "" {
			all[strings.ToLower(name)] = strings.Trim(string(text), `"`)
		}
	}
}

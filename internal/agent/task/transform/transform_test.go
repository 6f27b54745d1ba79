package transform

import (
	"strings"
	"testing"

	_ "penstock.dev/penstock/internal/agent/task/archive"
	"penstock.dev/penstock/internal/agent/task/tasktest"
)

func TestReplaceTokens(t *testing.T) {
	d := tasktest.New(t)
	d.Vars["name"], d.Vars["db.password"], d.Vars["quoted"], d.Vars["outer"] = "World", "p<\"w", `a"b`, "[#{name}#]"
	const task = "qetza.replacetokens.replacetokens-task.replacetokens"
	for _, c := range []struct {
		name, version, file, in, want string
		inputs                        map[string]string
	}{
		{"plain", "6", "a.txt", "Hello #{ NAME }#, #{name}#!", "Hello World, World!", nil},
		{"json", "6", "a.json", `{"a":"#{quoted}#"}`, `{"a":"a\"b"}`, nil},
		{"xml", "5", "a.config", `<a b="#{db.password}#"/>`, `<a b="p&lt;&quot;w"/>`, nil},
		{"no escape", "6", "a.json", `#{quoted}#`, `a"b`, map[string]string{"escape": "off"}},
		{"missing", "6", "a.txt", "[#{nope}#]", "[]", nil},
		{"missing kept", "6", "a.txt", "[#{nope}#]", "[#{nope}#]", map[string]string{"missingVarAction": "keep"}},
		{"missing default", "5", "a.txt", "[#{nope}#]", "[x]", map[string]string{"defaultValue": "x"}},
		{"old keep", "3", "a.txt", "[__nope__]", "[__nope__]", map[string]string{"tokenPrefix": "__", "tokenSuffix": "__", "keepToken": "true"}},
		{"azure", "6", "a.txt", "$(name) $( nope", "World $( nope", map[string]string{"tokenPattern": "azpipelines"}},
		{"custom", "6", "a.txt", "<<name>>", "World", map[string]string{"tokenPattern": "custom", "tokenPrefix": "<<", "tokenSuffix": ">>"}},
		{"nested", "6", "a.txt", "#{x #{name}#", "#{x World", nil},
		{"recursion", "6", "a.txt", "#{outer}#", "[World]", map[string]string{"recursive": "true"}},
		{"none", "6", "a.txt", "#{outer}#", "[#{name}#]", nil},
		{"transforms", "6", "a.txt", "#{upper(name)}# #{base64(name)}#", "WORLD V29ybGQ=", map[string]string{"transforms": "true"}},
		{"additional", "6", "a.txt", "#{a.b}# #{c}# #{name}#", "1 x other", map[string]string{"additionalVariables": "a:\n  b: 1\nc: x\nname: other"}},
	} {
		d.Write(map[string]string{c.file: c.in})
		in := map[string]string{"targetFiles": c.file, "tokenPattern": "default"}
		for k, v := range c.inputs {
			in[k] = v
		}
		if c.version == "3" || c.version == "5" {
			in["writeBOM"] = "false"
		}
		if err := d.Run(task+"@"+c.version, in); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := d.Read(c.file); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	d.Write(map[string]string{"conf/app.tpl.json": "#{name}#", "conf/skip.tpl.json": "#{name}#"})
	if err := d.Run("replacetokens@6", map[string]string{"sources": "**/*.tpl.json;!**/skip* => *.json"}); err != nil {
		t.Fatal(err)
	}
	if d.Read("conf/app.json") != "World" || d.Read("conf/skip.json") != "" || d.Read("conf/app.tpl.json") != "#{name}#" || d.Outputs["replaced"] != "1" {
		t.Errorf("%q %v", d.Read("conf/app.json"), d.Outputs)
	}
	if err := d.Run("replacetokens@6", map[string]string{"sources": "none*", "ifNoFilesFound": "error"}); err == nil {
		t.Error("no files are no error")
	}
	d.Write(map[string]string{"a.txt": "#{nope}#"})
	if err := d.Run("replacetokens@6", map[string]string{"sources": "a.txt", "missingVarLog": "error"}); err == nil {
		t.Error("a missing variable is no error")
	}
}

func TestSubstituteJSON(t *testing.T) {
	vars := map[string]string{"logging.level": "Debug", "count": "5", "on": "false", "list.1": "x", "obj": `{"k":1}`, "text": "true", "bad": "many", "new.key": "no", "build.id": "never"}
	find := userVariables(func(n string) (string, bool) { v, ok := vars[strings.ToLower(n)]; return v, ok })
	got, n, err := substituteJSON(`{"z":1,"Logging":{"Level":"Info"},"count":3,"on":true,"list":["a","b"],"obj":{},"text":"t","bad":7,"build":{"id":"kept"},"html":"<&>","big":12345678901234567890}`, find)
	want := `{
    "z": 1,
    "Logging": {
        "Level": "Debug"
    },
    "count": 5,
    "on": false,
    "list": [
        "a",
        "x"
    ],
    "obj": {
        "k": 1
    },
    "text": "true",
    "bad": "many",
    "build": {
        "id": "kept"
    },
    "html": "<&>",
    "big": 12345678901234567890
}`
	if err != nil || got != want || n != 7 {
		t.Errorf("%d %v\n%s", n, err, got)
	}
	for _, bad := range []string{"", "{", "{} {}", "// comment\n{}"} {
		if _, _, err := substituteJSON(bad, find); err == nil {
			t.Errorf("%q is JSON", bad)
		}
	}
}

func TestSubstituteXML(t *testing.T) {
	vars := map[string]string{"key": `a<"b`, "conn": "Server=x", "setting": "new & more", "outside": "no", "param": "p"}
	find := func(n string) (string, bool) { v, ok := vars[strings.ToLower(n)]; return v, ok }
	in := `<?xml version="1.0"?>
<configuration><!-- kept -->
  <appSettings><add key="Key"  value='old' /><add key="other" value="same"/></appSettings>
  <connectionStrings><add name="conn" connectionString="old" providerName="p"/></connectionStrings>
  <applicationSettings><X><setting name="setting" serializeAs="String"><value>old</value></setting></X></applicationSettings>
  <elsewhere><add key="outside" value="same"/></elsewhere>
</configuration>`
	want := strings.NewReplacer(`value='old'`, `value="a&lt;&quot;b"`, `connectionString="old"`, `connectionString="Server=x"`, `<value>old</value>`, `<value>new &amp; more</value>`).Replace(in)
	got, n, err := substituteXML(in, find)
	if err != nil || got != want || n != 3 {
		t.Errorf("%d %v\n%s", n, err, got)
	}
	got, _, err = substituteXML(`<parameters><parameter name="param" defaultValue="o"/></parameters>`, find)
	if err != nil || !strings.Contains(got, `defaultValue="p"`) {
		t.Errorf("%s %v", got, err)
	}
}

func FuzzSubstitute(f *testing.F) {
	f.Add(`{"a":[1,{"b":null}]}`, `<appSettings><add key="a" value="b"/></appSettings>`)
	f.Fuzz(func(t *testing.T, j, x string) {
		find := func(n string) (string, bool) { return "v<\"", strings.HasSuffix(n, "b") || n == "a" }
		if out, n, err := substituteJSON(j, find); err == nil && n > 0 {
			if _, _, err := substituteJSON(out, find); err != nil {
				t.Fatalf("%q gives %q: %v", j, out, err)
			}
		}
		_, _, _ = substituteXML(x, find)
	})
}

func TestFileTransform(t *testing.T) {
	d := tasktest.New(t)
	d.Vars["level"] = "Debug"
	d.Write(map[string]string{"app/settings.json": `{"level":"Info"}`, "app/web.config": `<c><appSettings><add key="level" value="Info"/></appSettings></c>`})
	in := map[string]string{"folderPath": "app", "jsonTargetFiles": "**/settings.json", "xmlTargetFiles": "**/*.config"}
	if err := d.Run("FileTransform@2", in); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(d.Read("app/settings.json"), `"Debug"`) || !strings.Contains(d.Read("app/web.config"), `"Debug"`) {
		t.Errorf("%s %s", d.Read("app/settings.json"), d.Read("app/web.config"))
	}
	if err := d.Run("ArchiveFiles@2", map[string]string{"rootFolderOrFile": "app", "includeRootFolder": "false", "archiveFile": "app.zip"}); err != nil {
		t.Fatal(err)
	}
	d.Vars["level"] = "Warning"
	in["folderPath"] = "./"
	if err := d.Run("FileTransform@2", in); err != nil || !strings.Contains(d.Read("app/settings.json"), "Warning") {
		t.Errorf("%v %s", err, d.Read("app/settings.json"))
	}
	in["folderPath"] = "app"
	d.Vars["level"] = "Trace"
	if err := d.Run("FileTransform@1", map[string]string{"folderPath": "*.zip", "fileType": "json", "targetFiles": "settings.json"}); err != nil {
		t.Fatal(err)
	}
	if err := d.Run("ExtractFiles@1", map[string]string{"archiveFilePatterns": "app.zip", "destinationFolder": "out"}); err != nil || !strings.Contains(d.Read("out/settings.json"), "Trace") {
		t.Errorf("%v %s", err, d.Read("out/settings.json"))
	}
	d.Write(map[string]string{"app/web.Release.config": "<x/>"})
	if err := d.Run("FileTransform@2", in); err == nil || !strings.Contains(err.Error(), "XDT") {
		t.Errorf("XDT: %v", err)
	}
	if err := d.Run("FileTransform@2", map[string]string{"folderPath": "nothing*"}); err == nil {
		t.Error("nothing is transformed")
	}
}

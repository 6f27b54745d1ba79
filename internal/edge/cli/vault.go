package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"penstock.dev/penstock/internal/domain/serviceconnection"
)

type vaultRow struct {
	Name    string
	Created time.Time
}

type secretRow struct {
	Name, Version, By string
	Versions, Length  int
	Enabled           bool
	Updated           time.Time
}

func (c *cli) vaultCommand() *cobra.Command {
	return noun("vault", "Vaults of secrets.", "penstock vault create storefront-kv\nprintf %s \"$KEY\" | penstock vault secret set storefront-kv/PaymentKey",
		command("list", "Lists the vaults of a project.", "penstock vault list", noArgs, func(ctx context.Context, _ []string) error {
			list, err := all[vaultRow](ctx, c, "/_apis/penstock/vaults")
			if err != nil {
				return err
			}
			return printList(c, list, table[vaultRow]{id: func(v vaultRow) string { return v.Name }, empty: "penstock vault create NAME", columns: []column[vaultRow]{
				{head: "NAME", text: func(v vaultRow) string { return v.Name }}, {head: "AGE", text: func(v vaultRow) string { return c.age(v.Created) }}}})
		}),
		command("create NAME", "Makes a vault.", "penstock vault create storefront-kv", exactly("NAME"), func(ctx context.Context, args []string) error {
			var d doc[vaultRow]
			if err := c.send(ctx, http.MethodPost, "/_apis/penstock/vaults", map[string]string{"name": args[0]}, &d); err != nil {
				return err
			}
			return c.done(d.Raw, "vault %s; next: penstock vault secret set %s/NAME < FILE", d.V.Name, d.V.Name)
		}),
		c.secretCommand())
}

// secretPath splits VAULT/NAME.
func secretPath(arg string) (vault, name, path string, err error) {
	vault, name, ok := strings.Cut(arg, "/")
	if !ok || vault == "" || name == "" || strings.Contains(name, "/") {
		return "", "", "", usage("%q names no secret", arg).Want("VAULT/NAME")
	}
	return vault, name, "/_apis/penstock/vaults/" + url.PathEscape(vault) + "/secrets/" + url.PathEscape(name), nil
}

// vaultOf reads a secret with the sign-in of a context, for a local run.
func (c *cli) vaultOf(ctx context.Context, name, vault, secret string) (string, error) {
	of := *c
	of.flags.context, of.flags.server, of.flags.org, of.flags.project = name, "", "", ""
	of.Env = func(key string) string {
		switch key {
		case "PENSTOCK_SERVER", "PENSTOCK_ORG", "PENSTOCK_PROJECT", "PENSTOCK_CONTEXT", "PENSTOCK_TOKEN", "PENSTOCK_TOKEN_FILE", "SYSTEM_COLLECTIONURI", "SYSTEM_TEAMPROJECT", "SYSTEM_ACCESSTOKEN":
			return "" // the file names the context, and its own sign-in counts
		}
		return c.Env(key)
	}
	d, err := get[struct{ Value string }](ctx, &of, "/_apis/penstock/vaults/"+url.PathEscape(vault)+"/secrets/"+url.PathEscape(secret)+"/value")
	return d.V.Value, err
}

func (c *cli) secretCommand() *cobra.Command {
	return noun("secret", "Secrets of a vault; their values never stand on a command line.", "penstock vault secret list storefront-kv\npenstock vault secret set storefront-kv/PaymentKey --from-file key.txt",
		command("list VAULT", "Lists the secrets of a vault, without values.", "penstock vault secret list storefront-kv", exactly("VAULT"), func(ctx context.Context, args []string) error {
			list, err := all[secretRow](ctx, c, "/_apis/penstock/vaults/"+url.PathEscape(args[0])+"/secrets")
			if err != nil {
				return err
			}
			return printList(c, list, table[secretRow]{id: func(s secretRow) string { return s.Name }, empty: "penstock vault secret set " + args[0] + "/NAME < FILE", columns: []column[secretRow]{
				{head: "NAME", text: func(s secretRow) string { return s.Name }}, {head: "VERSIONS", text: func(s secretRow) string { return strconv.Itoa(s.Versions) }},
				{head: "LENGTH", text: func(s secretRow) string { return strconv.Itoa(s.Length) }}, {head: "UPDATED", text: func(s secretRow) string { return c.age(s.Updated) }},
				{head: "BY", text: func(s secretRow) string { return s.By }}, {head: "VERSION", wide: true, text: func(s secretRow) string { return s.Version }}}})
		}),
		command("show VAULT/NAME", "Prints the value of a secret; every reading is in the audit log.", "penstock vault secret show storefront-kv/PaymentKey", exactly("VAULT/NAME"), func(ctx context.Context, args []string) error {
			_, name, path, err := secretPath(args[0])
			if err != nil {
				return err
			}
			d, err := get[struct{ Value string }](ctx, c, path+"/value")
			if err != nil {
				return err
			}
			return printOne(c, d, name, func() string { return d.V.Value })
		}),
		c.secretSet(),
		command("delete VAULT/NAME", "Deletes a secret with all its versions.", "penstock vault secret delete storefront-kv/PaymentKey", exactly("VAULT/NAME"), func(ctx context.Context, args []string) error {
			_, name, path, err := secretPath(args[0])
			if err != nil {
				return err
			}
			if err := c.sure("This deletes every version of "+args[0], name); err != nil {
				return err
			}
			if err := c.send(ctx, http.MethodDelete, path, nil, nil); err != nil {
				return err
			}
			return c.done(map[string]string{"secret": args[0]}, "%s deleted", args[0])
		}))
}

func (c *cli) secretSet() *cobra.Command {
	var file string
	cmd := command("set VAULT/NAME", "Sets a secret: a new version, read from stdin, a file, or a hidden prompt.",
		"printf %s \"$KEY\" | penstock vault secret set storefront-kv/PaymentKey\npenstock vault secret set storefront-kv/PaymentKey --from-file key.txt", exactly("VAULT/NAME"), func(ctx context.Context, args []string) error {
			_, name, path, err := secretPath(args[0])
			if err != nil {
				return err
			}
			value, err := c.secretValue(file)
			if err != nil {
				return err
			}
			in := map[string]string{"value": string(value)}
			if !utf8.Valid(value) {
				in = map[string]string{"base64": base64.StdEncoding.EncodeToString(value)}
			}
			var d doc[secretRow]
			if err := c.send(ctx, http.MethodPut, path, in, &d); err != nil {
				return err
			}
			return c.done(d.Raw, "%s version %s (%d bytes)", name, d.V.Version, d.V.Length)
		})
	cmd.Flags().StringVar(&file, "from-file", "", "`file` with the value; - is stdin")
	return cmd
}

// secretValue reads a value. The end of a single line is the editor's, not the
// secret's.
func (c *cli) secretValue(file string) ([]byte, error) {
	if _, person := c.terminal(); person && file == "" {
		text, err := c.ask("Value")
		return []byte(text), err
	}
	var value []byte
	var err error
	if file != "" {
		value, err = c.readFile(file)
	} else {
		value, err = io.ReadAll(io.LimitReader(c.Stdin, 1<<20))
	}
	if err != nil {
		return nil, err
	}
	if bytes.Count(value, []byte{'\n'}) == 1 {
		value = bytes.TrimSuffix(bytes.TrimSuffix(value, []byte{'\n'}), []byte{'\r'})
	}
	if len(value) == 0 {
		return nil, usage("the value is empty").Want("a value on stdin, or --from-file FILE")
	}
	return value, nil
}

type groupVariable struct {
	Value    *string `json:"value,omitempty"`
	IsSecret bool    `json:"isSecret,omitempty"`
}

type variableGroupRow struct {
	ID                                    int
	Name, Description, Vault, Application string
	Variables                             map[string]groupVariable
}

func (c *cli) variableGroupCommand() *cobra.Command {
	return noun("variable-group", "Variable groups that pipelines refer to.", "penstock variable-group list\npenstock variable-group create storefront-secrets --vault storefront-kv --secret PaymentKey",
		command("list", "Lists the variable groups of a project.", "penstock variable-group list", noArgs, func(ctx context.Context, _ []string) error {
			list, err := all[variableGroupRow](ctx, c, "/_apis/distributedtask/variablegroups")
			if err != nil {
				return err
			}
			return printList(c, list, table[variableGroupRow]{id: func(g variableGroupRow) string { return g.Name }, empty: "penstock variable-group create NAME --var N=V", columns: []column[variableGroupRow]{
				{head: "ID", text: func(g variableGroupRow) string { return strconv.Itoa(g.ID) }}, {head: "NAME", text: func(g variableGroupRow) string { return g.Name }},
				{head: "VARIABLES", text: func(g variableGroupRow) string { return strconv.Itoa(len(g.Variables)) }}, {head: "VAULT", text: func(g variableGroupRow) string { return g.Vault }},
				{head: "KEPT BY", text: func(g variableGroupRow) string { return g.Application }}}})
		}),
		command("show NAME", "Shows a variable group; secrets without values.", "penstock variable-group show storefront", exactly("NAME"), func(ctx context.Context, args []string) error {
			d, err := get[variableGroupRow](ctx, c, "/_apis/distributedtask/variablegroups/"+url.PathEscape(args[0]))
			if err != nil {
				return err
			}
			return printOne(c, d, d.V.Name, func() string {
				var rows [][]string
				for name, v := range d.V.Variables {
					value := "(secret)"
					if !v.IsSecret && v.Value != nil {
						value = *v.Value
					}
					rows = append(rows, []string{printable(name), printable(value)})
				}
				slices.SortFunc(rows, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
				return align(rows)
			})
		}),
		c.variableGroupCreate())
}

func (c *cli) variableGroupCreate() *cobra.Command {
	var description, vault string
	var vars, secrets []string
	cmd := command("create NAME", "Makes or replaces a variable group.", "penstock variable-group create settings --var region=eu\npenstock variable-group create storefront-secrets --vault storefront-kv --secret PaymentKey", exactly("NAME"),
		func(ctx context.Context, args []string) error {
			values, err := assignments("var", vars)
			if err != nil {
				return err
			}
			if len(secrets) > 0 && vault == "" {
				return usage("--secret names a secret of a vault").Try("add --vault NAME")
			}
			variables := map[string]groupVariable{}
			for name, value := range values {
				variables[name] = groupVariable{Value: &value}
			}
			for _, name := range secrets {
				variables[name] = groupVariable{IsSecret: true}
			}
			var d doc[variableGroupRow]
			in := map[string]any{"name": args[0], "description": description, "vault": vault, "variables": variables}
			if err := c.send(ctx, http.MethodPost, "/_apis/distributedtask/variablegroups", in, &d); err != nil {
				return err
			}
			return c.done(d.Raw, "variable group %s (%d variables)", d.V.Name, len(d.V.Variables))
		})
	cmd.Flags().StringVar(&description, "description", "", "what it is for")
	cmd.Flags().StringArrayVar(&vars, "var", nil, "`NAME=VALUE`; no secret")
	cmd.Flags().StringVar(&vault, "vault", "", "vault that secrets come from")
	cmd.Flags().StringSliceVar(&secrets, "secret", nil, "names of secrets of the vault")
	return cmd
}

type connectionRow struct {
	ID, Name, Type, URL, Description string
	Data                             map[string]*string
	Authorization                    struct {
		Scheme     string
		Parameters map[string]*string
	}
}

const connectionsPath = "/_apis/serviceendpoint/endpoints"

func (c *cli) serviceConnectionCommand() *cobra.Command {
	return noun("service-connection", "Service connections: how pipelines sign in elsewhere.", "penstock service-connection list\npenstock service-connection create web-1 --type ssh --data Host=web-1.example.test --param username=deploy --data-file PrivateKey=id_ed25519 --data-file knownHosts=known_hosts",
		command("list", "Lists the service connections of a project.", "penstock service-connection list", noArgs, func(ctx context.Context, _ []string) error {
			list, err := all[connectionRow](ctx, c, connectionsPath)
			if err != nil {
				return err
			}
			return printList(c, list, table[connectionRow]{id: func(k connectionRow) string { return k.Name }, empty: "penstock service-connection create NAME --type TYPE", columns: []column[connectionRow]{
				{head: "NAME", text: func(k connectionRow) string { return k.Name }}, {head: "TYPE", text: func(k connectionRow) string { return k.Type }},
				{head: "SCHEME", text: func(k connectionRow) string { return k.Authorization.Scheme }}, {head: "URL", text: func(k connectionRow) string { return k.URL }},
				{head: "ID", wide: true, text: func(k connectionRow) string { return k.ID }}}})
		}),
		command("show NAME", "Shows a service connection; secrets without values.", "penstock service-connection show web-1", exactly("NAME"), func(ctx context.Context, args []string) error {
			d, err := get[connectionRow](ctx, c, connectionsPath+"/"+url.PathEscape(args[0])+"?strict=true")
			if err != nil {
				return err
			}
			return printOne(c, d, d.V.Name, func() string { return connectionText(d.V) })
		}),
		c.connectionCreate(),
		command("delete NAME", "Deletes a service connection.", "penstock service-connection delete web-1", exactly("NAME"), func(ctx context.Context, args []string) error {
			if err := c.sure("Steps that name "+args[0]+" fail without it", args[0]); err != nil {
				return err
			}
			if err := c.send(ctx, http.MethodDelete, connectionsPath+"/"+url.PathEscape(args[0]), nil, nil); err != nil {
				return err
			}
			return c.done(map[string]string{"serviceConnection": args[0]}, "service connection %s deleted", args[0])
		}))
}

func connectionText(k connectionRow) string {
	text := pairs("name", k.Name, "id", k.ID, "type", k.Type, "url", k.URL, "scheme", k.Authorization.Scheme, "about", k.Description)
	var rows [][]string
	for kind, values := range map[string]map[string]*string{"parameter": k.Authorization.Parameters, "data": k.Data} {
		for name, v := range values {
			value := "(secret)"
			if v != nil {
				value = *v
			}
			rows = append(rows, []string{kind, printable(name), printable(value)})
		}
	}
	slices.SortFunc(rows, func(a, b []string) int { return strings.Compare(a[0]+"/"+a[1], b[0]+"/"+b[1]) })
	return text + "\n" + align(rows)
}

func (c *cli) connectionCreate() *cobra.Command {
	var kind, address, scheme, description string
	var params, paramFiles, data, dataFiles []string
	cmd := command("create NAME", "Makes a service connection. Secrets come from files, never from the command line.",
		"penstock service-connection create web-1 --type ssh --data Host=web-1.example.test --param username=deploy --data-file PrivateKey=id_ed25519 --data-file knownHosts=known_hosts\n"+
			"penstock service-connection create hub --type dockerregistry --param registry=registry.example.test --param username=ci --param-file password=-", exactly("NAME"),
		func(ctx context.Context, args []string) error {
			parameters, err := c.entries("param", params, paramFiles, serviceconnection.SecretParameter)
			if err != nil {
				return err
			}
			entries, err := c.entries("data", data, dataFiles, serviceconnection.SecretDatum)
			if err != nil {
				return err
			}
			if scheme == "" {
				scheme = usualScheme(parameters)
			}
			in := map[string]any{"name": args[0], "type": kind, "url": address, "description": description, "data": entries,
				"authorization": map[string]any{"scheme": scheme, "parameters": parameters}}
			var d doc[connectionRow]
			if err := c.send(ctx, http.MethodPost, connectionsPath, in, &d); err != nil {
				return err
			}
			return c.done(d.Raw, "service connection %s (%s)", d.V.Name, d.V.Type)
		})
	f := cmd.Flags()
	f.StringVar(&kind, "type", "generic", "`type`: generic, ssh, dockerregistry, azurerm, externalnpmregistry, externalnugetfeed, externalpythondownloadfeed, …")
	f.StringVar(&address, "url", "", "address of the service")
	f.StringVar(&scheme, "scheme", "", "how to sign in: UsernamePassword, Token, None, … (default: what the parameters suggest)")
	f.StringVar(&description, "description", "", "what it is for")
	f.StringArrayVar(&params, "param", nil, "`NAME=VALUE` of the scheme; no secret")
	f.StringArrayVar(&paramFiles, "param-file", nil, "`NAME=FILE` with a parameter, for instance a password; - is stdin")
	f.StringArrayVar(&data, "data", nil, "`NAME=VALUE` of the type; no secret")
	f.StringArrayVar(&dataFiles, "data-file", nil, "`NAME=FILE` with an entry of the type, for instance PrivateKey; - is stdin")
	return cmd
}

func usualScheme(parameters map[string]string) string {
	for name := range parameters {
		switch strings.ToLower(name) {
		case "username", "password":
			return "UsernamePassword"
		case "apitoken":
			return "Token"
		}
	}
	return "None"
}

// entries reads NAME=VALUE and NAME=FILE; a secret comes from a file only, since
// others see a command line.
func (c *cli) entries(flag string, values, files []string, secret func(string) bool) (map[string]string, error) {
	list, err := assignments(flag, values)
	if err != nil {
		return nil, err
	}
	for name := range list {
		if secret(name) {
			return nil, usage("%s is a secret, and a command line can be seen by others", name).Try("--%s-file %s=FILE, or %s=- for stdin", flag, name, name)
		}
	}
	from, err := assignments(flag+"-file", files)
	if err != nil {
		return nil, err
	}
	for name, file := range from {
		value, err := c.secretValue(file)
		if err != nil {
			return nil, err
		}
		list[name] = string(value)
	}
	return list, nil
}

type secureFileRow struct {
	ID, Name  string
	Size      int64
	CreatedOn time.Time
}

const secureFilesPath = "/_apis/distributedtask/securefiles"

func (c *cli) secureFileCommand() *cobra.Command {
	return noun("secure-file", "Secure files: certificates and keys that pipelines download and nobody reads back.", "penstock secure-file upload signing.p12\npenstock secure-file list",
		command("list", "Lists the secure files of a project.", "penstock secure-file list", noArgs, func(ctx context.Context, _ []string) error {
			list, err := all[secureFileRow](ctx, c, secureFilesPath)
			if err != nil {
				return err
			}
			return printList(c, list, table[secureFileRow]{id: func(f secureFileRow) string { return f.Name }, empty: "penstock secure-file upload FILE", columns: []column[secureFileRow]{
				{head: "NAME", text: func(f secureFileRow) string { return f.Name }}, {head: "SIZE", text: func(f secureFileRow) string { return bytesText(f.Size) }},
				{head: "AGE", text: func(f secureFileRow) string { return c.age(f.CreatedOn) }}, {head: "ID", wide: true, text: func(f secureFileRow) string { return f.ID }}}})
		}),
		c.secureFileUpload(),
		command("delete NAME", "Deletes a secure file.", "penstock secure-file delete signing.p12", exactly("NAME"), func(ctx context.Context, args []string) error {
			if err := c.sure("Steps that name "+args[0]+" fail without it", args[0]); err != nil {
				return err
			}
			if err := c.send(ctx, http.MethodDelete, secureFilesPath+"/"+url.PathEscape(args[0]), nil, nil); err != nil {
				return err
			}
			return c.done(map[string]string{"secureFile": args[0]}, "secure file %s deleted", args[0])
		}))
}

func (c *cli) secureFileUpload() *cobra.Command {
	var name string
	cmd := command("upload FILE", "Uploads a secure file of at most 10 MB.", "penstock secure-file upload signing.p12\npenstock secure-file upload - --name deploy_key < id_ed25519", exactly("FILE"), func(ctx context.Context, args []string) error {
		if args[0] == "-" && name == "" {
			return usage("stdin has no name").Try("--name NAME")
		}
		content, err := c.readFile(args[0])
		if err != nil {
			return err
		}
		a, err := c.inProject(ctx)
		if err != nil {
			return err
		}
		ctx, cancel := c.within(ctx)
		defer cancel()
		answer, err := a.Stream(ctx, http.MethodPost, a.InProject(secureFilesPath+"?name="+url.QueryEscape(cmp.Or(name, filepath.Base(args[0])))), "application/json", bytes.NewReader(content))
		if err != nil {
			return err
		}
		defer func() { _ = answer.Close() }()
		var d doc[secureFileRow]
		if err := json.NewDecoder(io.LimitReader(answer, maxAnswer)).Decode(&d); err != nil {
			return err
		}
		return c.done(d.Raw, "secure file %s (%s)", d.V.Name, bytesText(d.V.Size))
	})
	cmd.Flags().StringVar(&name, "name", "", "name there (default: that of the file)")
	return cmd
}

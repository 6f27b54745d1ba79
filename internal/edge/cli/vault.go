package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
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

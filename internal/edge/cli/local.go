package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"penstock.dev/penstock/docs"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/artifact/webdeploy"
	"penstock.dev/penstock/internal/domain/pipeline/editor"
	"penstock.dev/penstock/internal/domain/pipeline/tasklib"
)

func (c *cli) webdeployCommand() *cobra.Command {
	return noun("webdeploy", "Web Deploy packages, by hand.", "penstock webdeploy pack ./site --site storefront --to storefront.zip\npenstock webdeploy show storefront.zip",
		c.webdeployPack(), c.webdeployApply(),
		command("show PACKAGE", "Shows what a package holds and asks for.", "penstock webdeploy show storefront.zip", exactly("PACKAGE"), func(_ context.Context, args []string) error {
			p, err := webdeploy.Open(c.path(args[0]))
			if err != nil {
				return err
			}
			defer func() { _ = p.Close() }()
			var size int64
			for _, f := range p.Files() {
				size += f.Size
			}
			type shape struct {
				Digest     string                `json:"digest"`
				Files      int                   `json:"files"`
				Bytes      int64                 `json:"bytes"`
				Parameters []webdeploy.Parameter `json:"parameters"`
			}
			d := local(shape{p.Digest(), len(p.Files()), size, p.Parameters()})
			return printOne(c, d, p.Digest(), func() string {
				text := pairs("digest", p.Digest(), "files", fmt.Sprint(len(p.Files())), "size", bytesText(size))
				for _, x := range p.Parameters() {
					text += "parameter  " + printable(x.Name) + map[bool]string{true: " = " + printable(x.Default)}[x.HasDefault] + "\n"
				}
				return text
			})
		}))
}

func (c *cli) webdeployPack() *cobra.Command {
	var site, to, parameters string
	cmd := command("pack FOLDER", "Makes a package of a folder.", "penstock webdeploy pack ./site --site storefront --to storefront.zip", exactly("FOLDER"), func(_ context.Context, args []string) error {
		if to == "" {
			return usage("where to?").Want("--to PACKAGE.zip")
		}
		o := webdeploy.PackOptions{Source: c.path(args[0]), Site: site}
		if parameters != "" {
			f, err := os.Open(c.path(parameters))
			if err != nil {
				return fault.Wrap(err, fault.Invalid, "file-unreadable", "the file cannot be read").At("%s", parameters)
			}
			defer func() { _ = f.Close() }()
			o.Parameters = f
		}
		out, err := os.CreateTemp(filepath.Dir(c.path(to)), ".package-*")
		if err != nil {
			return fault.Wrap(err, fault.Invalid, "not-writable", "the package cannot be written here").At("%s", to)
		}
		digest, err := webdeploy.Pack(out, o)
		if err = errors.Join(err, out.Close()); err == nil {
			err = os.Rename(out.Name(), c.path(to))
		}
		if err != nil {
			_ = os.Remove(out.Name())
			return err
		}
		return c.done(map[string]string{"package": to, "digest": digest}, "%s %s", to, digest)
	})
	cmd.Flags().StringVar(&site, "site", "", "name of the site")
	cmd.Flags().StringVar(&to, "to", "", "`file` to write")
	cmd.Flags().StringVar(&parameters, "parameters", "", "parameters.xml to declare")
	return cmd
}

func (c *cli) webdeployApply() *cobra.Command {
	var o webdeploy.ApplyOptions
	var set []string
	cmd := command("apply PACKAGE FOLDER", "Writes a package's content to a folder, as a whole.", "penstock webdeploy apply storefront.zip /srv/storefront --set-parameters-file storefront.SetParameters.xml --remove-additional", exactly("PACKAGE", "FOLDER"),
		func(ctx context.Context, args []string) error {
			p, err := webdeploy.Open(c.path(args[0]))
			if err != nil {
				return err
			}
			defer func() { _ = p.Close() }()
			o.Target = c.path(args[1])
			if o.SetParameters, err = assignments("set", set); err != nil {
				return err
			}
			if o.SetParametersFile != "" {
				o.SetParametersFile = c.path(o.SetParametersFile)
			}
			r, err := webdeploy.Apply(ctx, p, o)
			if err != nil {
				return err
			}
			for _, w := range r.Warnings {
				c.say("warning: %s", printable(w))
			}
			return c.done(r, "%d added, %d updated, %d deleted, %d unchanged", r.Added, r.Updated, r.Deleted, r.Unchanged)
		})
	f := cmd.Flags()
	f.StringArrayVar(&set, "set", nil, "`NAME=VALUE` of a parameter; no secret: those belong into the file")
	f.StringVar(&o.SetParametersFile, "set-parameters-file", "", "SetParameters.xml")
	f.BoolVar(&o.RemoveAdditionalFiles, "remove-additional", false, "delete what the package does not have")
	f.BoolVar(&o.TakeAppOffline, "take-offline", false, "put app_offline.htm there meanwhile")
	f.StringArrayVar(&o.Skip, "skip", nil, "path to leave as it is")
	return cmd
}

func (c *cli) explainCommand() *cobra.Command {
	return command("explain [CODE|KEY|TASK|WORD]", "Prints the documentation of an error, a key, a function, a task or a word, offline.",
		"penstock explain not-healthy\npenstock explain dependsOn\npenstock explain CopyFiles@2\npenstock explain slot\npenstock explain", between(0, 1, "WORD"),
		func(_ context.Context, args []string) error {
			all := explanations()
			if len(args) == 0 {
				return c.outln(strings.Join(slices.Sorted(maps.Keys(all)), "\n"))
			}
			var found []string
			if text, ok := all[strings.ToLower(args[0])]; ok {
				found = append(found, args[0]+"\n\n"+text)
			}
			if text, ok := editor.Explain(args[0]); ok {
				found = append(found, text)
			}
			if text := glossaryWord(args[0]); text != "" {
				found = append(found, text)
			}
			if len(found) > 0 {
				return c.outln(strings.Join(found, "\n\n"))
			}
			var near []string
			for code := range all {
				if strings.Contains(code, strings.ToLower(args[0])) {
					near = append(near, code)
				}
			}
			slices.Sort(near)
			return fault.New(fault.NotFound, "no-explanation", "there is no explanation of %s", args[0]).Got("%s", cmp.Or(strings.Join(near, ", "), "nothing like it")).Try("penstock explain lists the codes")
		})
}

// glossaryWord finds a word in the first column of the glossary's table.
func glossaryWord(word string) string {
	for line := range strings.Lines(docs.Glossary) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		for name := range strings.SplitSeq(strings.ReplaceAll(cells[1], "*", ""), ",") {
			if strings.EqualFold(strings.TrimSpace(name), word) {
				return strings.TrimSpace(strings.ReplaceAll(cells[1], "*", "")) + ": " + strings.TrimSpace(strings.ReplaceAll(cells[2], "*", ""))
			}
		}
	}
	return ""
}

// taskStore is the store that a command works on.
func (c *cli) taskStore(folder string) tasklib.Store {
	if folder != "" {
		return tasklib.Store{Dir: c.path(folder)}
	}
	if list := filepath.SplitList(c.Env("PENSTOCK_TASKS")); len(list) > 0 {
		return tasklib.Store{Dir: c.path(list[0])}
	}
	return tasklib.Store{Dir: filepath.Join(c.dataFolder(), "tasks")}
}

// taskCommand keeps tasks that are not built in, for the agents of this machine.
func (c *cli) taskCommand() *cobra.Command {
	var folder string
	cmd := noun("task", "Tasks that come as packages, kept on this machine.", "penstock task add ./Tasks/ReplaceTokensV1\npenstock task show ReplaceTokens@1",
		c.taskAdd(&folder),
		command("list", "Lists the tasks of the store.", "penstock task list\npenstock task list -o json", noArgs, func(context.Context, []string) error {
			return c.taskTable(c.taskStore(folder).Entries())
		}),
		command("show NAME[@VERSION]", "Shows the inputs and outputs of a task, and a step that calls it.", "penstock task show ReplaceTokens\npenstock task show ReplaceTokens@1 -o json", exactly("NAME"),
			func(ctx context.Context, args []string) error {
				name, version := tasklib.SplitRef(args[0])
				task, err := tasklib.Library{c.taskStore(folder)}.Find(ctx, name, version)
				if err != nil {
					return err
				}
				return printOne(c, local(task), task.Ref(), func() string { return taskText(task) })
			}),
		command("remove NAME[@VERSION]", "Removes a version of a task, or all of them.", "penstock task remove ReplaceTokens@1.0.0 --yes", exactly("NAME"),
			func(_ context.Context, args []string) error {
				if err := c.sure("This removes the task "+args[0], args[0]); err != nil {
					return err
				}
				name, version := tasklib.SplitRef(args[0])
				return c.taskTable(c.taskStore(folder).Remove(name, version))
			}))
	cmd.PersistentFlags().StringVar(&folder, "store", "", "`folder` of the tasks (default: PENSTOCK_TASKS, or tasks in the folder of the data)")
	return cmd
}

func (c *cli) taskAdd(folder *string) *cobra.Command {
	var force bool
	cmd := command("add PACKAGE", "Adds the tasks of a folder, of a .zip or of an extension (.vsix).", "penstock task add ./Tasks/ReplaceTokensV1\npenstock task add acme.pack-1.0.0.vsix --force", exactly("PACKAGE"),
		func(_ context.Context, args []string) error {
			return c.taskTable(c.taskStore(*folder).Add(c.path(args[0]), tasklib.AddOptions{Replace: force, Now: c.Now()}))
		})
	cmd.Flags().BoolVar(&force, "force", false, "replace a version that is there already")
	return cmd
}

func (c *cli) taskTable(list []tasklib.Entry, err error) error {
	if err != nil {
		return err
	}
	docs := make([]doc[tasklib.Entry], 0, len(list))
	for _, e := range list {
		docs = append(docs, local(e))
	}
	return printList(c, docs, table[tasklib.Entry]{id: tasklib.Entry.Ref, empty: "penstock task add PATH, ZIP or VSIX", columns: []column[tasklib.Entry]{
		{head: "TASK", text: func(e tasklib.Entry) string { return e.Name }},
		{head: "VERSION", text: func(e tasklib.Entry) string { return e.Version.String() }},
		{head: "FROM", text: func(e tasklib.Entry) string { return e.Contribution }},
		{head: "ADDED", text: func(e tasklib.Entry) string { return c.age(e.Added) }},
		{head: "ID", text: func(e tasklib.Entry) string { return e.ID }, wide: true},
		{head: "FOLDER", text: func(e tasklib.Entry) string { return e.Dir }, wide: true},
	}})
}

// taskText is what a task wants and gives, for people.
func taskText(t *tasklib.Task) string {
	d := t.Definition
	kinds := func(list []tasklib.Handler) string {
		var names []string
		for _, h := range list {
			names = append(names, h.Kind)
		}
		return strings.Join(names, ", ")
	}
	text := pairs("task", t.Ref(), "id", t.ID, "from", t.Contribution, "title", d.Title(), "about", oneLine(d.Description), "author", d.Author,
		"runs on", kinds(d.Main), "before the job", kinds(d.PreJob), "after the job", kinds(d.PostJob), "deprecated", map[bool]string{true: cmp.Or(oneLine(d.DeprecationMessage), "yes")}[d.Deprecated])
	if len(d.Inputs) > 0 {
		rows := [][]string{{"INPUT", "TYPE", "DEFAULT", "NEEDED", "VALUES"}}
		for _, in := range d.Inputs {
			var values []string
			for _, o := range in.Options {
				values = append(values, o.Value)
			}
			needed := map[bool]string{true: "yes"}[in.Required]
			if in.VisibleRule != "" {
				needed = strings.TrimSpace(needed + " if " + in.VisibleRule)
			}
			rows = append(rows, cells(strings.Join(append([]string{in.Name}, in.Aliases...), ", "), in.Type, in.Default, needed, strings.Join(values, ", ")))
		}
		text += "\n" + align(rows)
	}
	if len(d.OutputVariables) > 0 {
		rows := [][]string{{"OUTPUT", "MEANING"}}
		for _, o := range d.OutputVariables {
			rows = append(rows, cells(o.Name, o.Description))
		}
		text += "\n" + align(rows)
	}
	return text + "\n" + printable(d.Example())
}

// cells are texts of others, each in one line.
func cells(texts ...string) []string {
	row := make([]string, 0, len(texts))
	for _, t := range texts {
		row = append(row, printable(oneLine(t)))
	}
	return row
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

package toolchain

import (
	"context"
	"strings"

	"penstock.dev/penstock/internal/agent/task"
)

func init() {
	task.Register(&task.Task{Name: "UseRubyVersion", Major: []string{"0"}, Run: useRuby})
}

var ruby = &tool{name: "Ruby", programs: []string{"ruby"}, ask: []string{"--version"}, bin: "bin",
	tell:    []string{"-e", "print File.realpath(RbConfig.ruby)"},
	places:  []string{"~/.rbenv/versions/*", "~/.asdf/installs/ruby/*", "~/.local/share/mise/installs/ruby/*", "/opt/hostedtoolcache/Ruby/*/x64"},
	install: "install the version on the agent's machine (package ruby, or rbenv install VERSION)"}

func useRuby(ctx context.Context, c *task.Context) error {
	spec, err := c.Need("versionSpec")
	if err != nil {
		return err
	}
	f, err := ruby.get(ctx, c, request{spec: spec})
	if err != nil {
		return err
	}
	c.Output("rubyLocation", f.dir, false)
	if !strings.EqualFold(c.Input("addToPath"), "false") {
		c.Printf("Ruby %s in %s", f.version, ruby.prepend(c, f))
	}
	return nil
}

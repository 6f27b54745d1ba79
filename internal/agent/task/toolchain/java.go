package toolchain

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"

	"github.com/Masterminds/semver/v3"

	"penstock.dev/penstock/internal/agent/task"
)

// javaPlaces is where packages and people put a JDK.
var javaPlaces = []string{"/usr/lib/jvm/*", "~/.sdkman/candidates/java/*", "~/.jdks/*", "~/.asdf/installs/java/*", "~/.local/share/mise/installs/java/*",
	"/Library/Java/JavaVirtualMachines/*/Contents/Home", `C:\Program Files\*\jdk-*`}

// javaMajor is 8 of 1.8, 11 of 1.11 and of 11.0.2.
func javaMajor(version string) string {
	major, _, _ := strings.Cut(strings.TrimPrefix(version, "1."), ".")
	return major
}

// javaVariable is the variable in which an agent says where a JDK is.
func javaVariable(version, arch string) string {
	return "JAVA_HOME_" + javaMajor(version) + "_" + strings.ToUpper(cmp.Or(arch, "x64"))
}

// JavaHome is the folder of a JDK: of the variable JAVA_HOME_VERSION_ARCH, on the
// PATH, or where packages put it. Versions are written 11 or 1.11.
func JavaHome(c *task.Context, version, arch string) (string, error) {
	variable := javaVariable(version, arch)
	home, _ := c.Lookup(variable)
	if home = cmp.Or(home, os.Getenv(variable)); home != "" {
		return home, nil
	}
	major := javaMajor(version)
	java := &tool{name: "Java", programs: []string{"java"}, bin: "bin",
		install: "install it (package openjdk-" + major + "-jdk), or set " + variable + " in the agent's environment"}
	have := installedJava(c, java)
	for _, f := range have {
		if javaMajor(f.version.String()) == major {
			return f.dir, nil
		}
	}
	f, err := java.standIn(c, request{spec: major}, archOf(arch), have, nil)
	return f.dir, err
}

// installedJava lists the JDKs of the machine by what they say of themselves:
// the names of their folders follow no rule.
func installedJava(c *task.Context, java *tool) []found {
	var dirs []string
	if file, err := c.Find("java"); err == nil {
		if real, err := filepath.EvalSymlinks(file); err == nil && filepath.Base(filepath.Dir(real)) == java.bin {
			dirs = append(dirs, filepath.Dir(filepath.Dir(real)))
		}
	}
	for _, pattern := range javaPlaces {
		dirs = append(dirs, globHome(pattern)...)
	}
	seen := map[string]bool{}
	var list []found
	for _, dir := range dirs {
		real, err := filepath.EvalSymlinks(dir)
		if err != nil || seen[real] {
			continue
		}
		seen[real] = true
		if v := javaVersion(real); v != nil && java.usable(real) {
			list = append(list, found{v, real, real})
		}
	}
	sortNewest(list)
	return list
}

// javaVersion reads the file release of a JDK.
func javaVersion(dir string) *semver.Version {
	data, err := os.ReadFile(filepath.Join(dir, "release"))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(data)) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "JAVA_VERSION="); ok {
			// 1.8.0_402 and 17.0.15 alike.
			text, _, _ = strings.Cut(strings.TrimPrefix(strings.Trim(text, `"`), "1."), "_")
			v, err := semver.NewVersion(leading.FindString(text))
			if err != nil {
				return nil
			}
			return v
		}
	}
	return nil
}

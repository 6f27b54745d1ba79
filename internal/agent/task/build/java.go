package build

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/agent/task/toolchain"
	"penstock.dev/penstock/internal/base/fault"
)

func init() {
	task.Register(&task.Task{Name: "Maven", Major: []string{"2", "3", "4"}, Run: maven})
	task.Register(&task.Task{Name: "Gradle", Major: []string{"2", "3", "4"}, Run: gradle})
}

// javaHome is the JDK that the inputs choose; "" leaves the machine's.
func javaHome(c *task.Context) (string, error) {
	if strings.EqualFold(c.Input("javaHomeSelection"), "Path") {
		dir, err := c.Need("jdkUserInputPath")
		if err != nil {
			return "", err
		}
		if _, err := os.Stat(c.Path(dir)); err != nil {
			return "", fault.New(fault.Invalid, "no-folder", "Not found jdkDirectory: %s", c.Path(dir))
		}
		return c.Path(dir), nil
	}
	version := c.Input("jdkVersion")
	if version == "" || strings.EqualFold(version, "default") {
		return "", nil
	}
	return toolchain.JavaHome(c, version, c.Input("jdkArchitecture"))
}

func javaEnv(c *task.Context, variable, options string) ([]string, error) {
	home, err := javaHome(c)
	if err != nil {
		return nil, err
	}
	var env []string
	if home != "" {
		env = append(env, "JAVA_HOME="+home)
	}
	if options != "" {
		env = append(env, variable+"="+options)
	}
	return env, nil
}

// analyses are inputs that change the build for a report.
func analyses(c *task.Context) error {
	for _, input := range []string{"sqAnalysisEnabled", "sonarQubeRunAnalysis", "checkstyleAnalysisEnabled", "pmdAnalysisEnabled", "findbugsAnalysisEnabled", "spotBugsAnalysisEnabled"} {
		if err := unsupported(c, input, "run the analysis as a goal of the build itself"); err != nil {
			return err
		}
	}
	if tool := c.Input("codeCoverageTool"); tool != "" && !strings.EqualFold(tool, "None") {
		c.Warn("codeCoverageTool %s is not added to the build by this version; configure it in the build and publish its report with PublishCodeCoverageResults@2", tool)
	}
	return nil
}

// testsOf publishes the results of a build, whatever became of it.
func testsOf(ctx context.Context, c *task.Context, err error) error {
	if !c.Bool("publishJUnitResults") || ctx.Err() != nil {
		return err
	}
	base, _ := c.Lookup("System.DefaultWorkingDirectory")
	// A build without tests is no reason for a warning.
	if files, findErr := task.FindFiles(base, strings.Split(c.Inputs["testresultsfiles"], "\n")...); findErr == nil && len(files) == 0 {
		c.Printf("No test result files matching %s were found, so publishing JUnit test results is being skipped.", strings.TrimSpace(c.Inputs["testresultsfiles"]))
		return err
	}
	c.Inputs["testrunner"] = "JUnit"
	return errors.Join(err, task.PublishMatching(ctx, c, base, c.Inputs["testresultsfiles"]))
}

func maven(ctx context.Context, c *task.Context) error {
	pom := c.Path(c.Input("mavenPOMFile"))
	if _, err := os.Stat(pom); err != nil {
		return fault.New(fault.Invalid, "no-file", "Not found mavenPOMFile: %s", pom)
	}
	if err := analyses(c); err != nil {
		return err
	}
	if err := unsupported(c, "mavenFeedAuthenticate", "write the credentials into settings.xml, from secret variables"); err != nil {
		return err
	}
	var program string
	var err error
	if strings.EqualFold(c.Input("mavenVersionSelection"), "Path") {
		program, err = c.Program(filepath.Join(c.Path(c.Input("mavenPath")), "bin", "mvn"), "check the input mavenDirectory")
	} else {
		program, err = c.Program("mvn", "install Maven (package maven)")
	}
	if err != nil {
		return err
	}
	env, err := javaEnv(c, "MAVEN_OPTS", c.Input("mavenOpts"))
	if err != nil {
		return err
	}
	options, err := task.SplitArgs(c.Input("options"))
	if err != nil {
		return err
	}
	goals, err := task.SplitArgs(cmp.Or(c.Input("goals"), "package"))
	if err != nil {
		return err
	}
	dir, err := folder(c, "")
	if err != nil {
		return err
	}
	if err := call(ctx, c, task.Command{Path: program, Args: []string{"-version"}, Dir: dir, Env: env}); err != nil {
		return err
	}
	args := append(append([]string{"-f", pom}, options...), goals...)
	return testsOf(ctx, c, call(ctx, c, task.Command{Path: program, Args: args, Dir: dir, Env: env}))
}

func gradle(ctx context.Context, c *task.Context) error {
	wrapper := c.Path(cmp.Or(c.Input("wrapperScript"), "gradlew"))
	if runtime.GOOS == "windows" && filepath.Ext(wrapper) == "" {
		wrapper += ".bat"
	}
	info, err := os.Stat(wrapper)
	if err != nil {
		return fault.New(fault.Invalid, "no-file", "Not found gradleWrapperFile: %s", wrapper).Try("commit the wrapper: gradle wrapper")
	}
	if err := analyses(c); err != nil {
		return err
	}
	// Git on Windows loses the mode.
	if err := os.Chmod(wrapper, info.Mode().Perm()|0o111); err != nil {
		return err
	}
	env, err := javaEnv(c, "GRADLE_OPTS", c.Input("gradleOpts"))
	if err != nil {
		return err
	}
	args, err := task.SplitArgs(c.Input("options"))
	if err != nil {
		return err
	}
	tasks, err := task.SplitArgs(cmp.Or(c.Input("tasks"), "build"))
	if err != nil {
		return err
	}
	dir := filepath.Dir(wrapper)
	if c.Input("cwd") != "" {
		if dir, err = folder(c, "cwd"); err != nil {
			return err
		}
	}
	return testsOf(ctx, c, call(ctx, c, task.Command{Path: wrapper, Args: append(args, tasks...), Dir: dir, Env: env}))
}

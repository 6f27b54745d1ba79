package agent

import (
	"bufio"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"

	"penstock.dev/penstock/internal/agent/command"
	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
)

// upload is a file or folder that goes into an artifact when the step is done.
type upload struct{ artifact, path string }

// file checks the path that a command names.
func (s *step) file(c command.Command) (string, os.FileInfo, error) {
	if c.Data == "" {
		return "", nil, fault.New(fault.Invalid, "command-data", "the command needs a path").Want("##vso[%s …]PATH", c.Name())
	}
	p := filepath.FromSlash(c.Data)
	if !filepath.IsAbs(p) {
		base, _ := s.Lookup("System.DefaultWorkingDirectory")
		p = filepath.Join(base, p)
	}
	info, err := os.Stat(p)
	if err != nil {
		return "", nil, fault.New(fault.NotFound, "no-path", "Path does not exist: %s", p)
	}
	return p, info, nil
}

func (s *step) queueUpload(c command.Command) error {
	name, err := needProperty(c, "artifactname")
	if err != nil {
		return err
	}
	p, info, err := s.file(c)
	if err != nil {
		return err
	}
	if info.IsDir() && !hasFile(p) {
		s.Issue("warning", "folder "+p+" has no file; artifact "+name+" is not published")
		return nil
	}
	s.mu.Lock()
	s.uploads = append(s.uploads, upload{name, p})
	s.mu.Unlock()
	return nil
}

func hasFile(dir string) bool {
	found := false
	_ = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found = true
			return filepath.SkipAll
		}
		return nil
	})
	return found
}

// upload publishes what the step's commands named; what one step uploads under
// one name is one artifact.
func (s *step) upload(ctx context.Context) error {
	s.mu.Lock()
	list := s.uploads
	s.uploads = nil
	s.mu.Unlock()
	byName, names := map[string][]string{}, []string{}
	for _, u := range list {
		if byName[u.artifact] == nil {
			names = append(names, u.artifact)
		}
		byName[u.artifact] = append(byName[u.artifact], u.path)
	}
	for _, name := range names {
		if err := task.PublishPaths(ctx, s.context(&task.Task{}), name, byName[name]); err != nil {
			return err
		}
	}
	return nil
}

func associate(s *step, c command.Command) error {
	name, err := needProperty(c, "artifactname")
	if err != nil {
		return err
	}
	if c.Data == "" {
		return fault.New(fault.Invalid, "command-data", "the command needs a location").Want("##vso[artifact.associate artifactname=NAME;type=TYPE]LOCATION")
	}
	s.Issue("warning", "artifact "+name+" is only a link to "+c.Data+"; links are not kept by this version. Publish the files themselves")
	return nil
}

// maxNumber is how long a run number may be.
const maxNumber = 255

func (s *step) setNumber(c command.Command) error {
	number := strings.TrimSpace(c.Data)
	if number == "" {
		return fault.New(fault.Invalid, "command-data", "the command needs a number").Want("##vso[build.updatebuildnumber]NUMBER")
	}
	if len(number) > maxNumber || strings.ContainsAny(number, "\"/\\:<>'|?@*\r\n") || strings.HasSuffix(number, ".") {
		return fault.New(fault.Invalid, "run-number", "%q cannot be a run number", number).
			Want("at most %d characters, none of \" / \\ : < > ' | ? @ *, no point at the end", maxNumber)
	}
	s.job.mu.Lock()
	s.number = number
	s.job.mu.Unlock()
	s.put("Build.BuildNumber", number)
	return nil
}

func addTag(s *step, c command.Command) error {
	tag := strings.TrimSpace(c.Data)
	if tag == "" {
		return fault.New(fault.Invalid, "command-data", "the command needs a tag").Want("##vso[build.addbuildtag]TAG")
	}
	s.Issue("warning", "tag "+tag+" is not kept: runs have no tags in this version")
	return nil
}

// maxSummary is how much of a summary the log shows, in bytes.
const maxSummary = 256 << 10

// uploadSummary shows a summary in the log: that is where its readers find it.
func uploadSummary(s *step, c command.Command) error {
	p, info, err := s.file(c)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return fault.New(fault.Invalid, "not-a-file", "a summary is a file, not a folder").Got("%s", p)
	}
	f, err := os.Open(p)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	s.Print("##[group]Summary " + filepath.Base(p))
	lines := bufio.NewScanner(io.LimitReader(f, maxSummary))
	lines.Buffer(nil, maxSummary+1)
	for lines.Scan() {
		s.Print(lines.Text())
	}
	if info.Size() > maxSummary {
		s.Print("… cut")
	}
	s.Print("##[endgroup]")
	return nil
}

func addAttachment(s *step, c command.Command) error {
	kind, err := needProperty(c, "type")
	if err != nil {
		return err
	}
	name, err := needProperty(c, "name")
	if err != nil {
		return err
	}
	for _, v := range []string{kind, name} {
		if strings.ContainsAny(v, "\"<>|:*?\\/\r\n\x00") {
			return fault.New(fault.Invalid, "attachment-name", "type and name of an attachment must be usable as file names").Got("%q", v)
		}
	}
	p, _, err := s.file(c)
	if err != nil {
		return err
	}
	if strings.EqualFold(kind, "Distributedtask.Core.Summary") {
		return uploadSummary(s, command.Command{Area: "task", Action: "uploadsummary", Data: p})
	}
	s.Issue("warning", "attachment "+kind+"/"+name+" is not kept by this version; publish "+p+" as an artifact to keep it")
	return nil
}

func uploadFile(s *step, c command.Command) error {
	p, _, err := s.file(c)
	if err != nil {
		return err
	}
	s.Issue("warning", "file "+p+" is not kept with the log by this version; publish it as an artifact to keep it")
	return nil
}

// uploadLog keeps a log as the service does: in the artifact logs.
func uploadLog(s *step, c command.Command) error {
	p, _, err := s.file(c)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.uploads = append(s.uploads, upload{"logs", p})
	s.mu.Unlock()
	return nil
}

// publishResults is PublishTestResults, asked for by a program.
func (s *step) publishResults(c command.Command) error {
	inputs := map[string]string{"testresultsformat": c.Properties["type"], "mergetestresults": c.Properties["mergeresults"], "testruntitle": c.Properties["runtitle"],
		"buildplatform": c.Properties["platform"], "buildconfiguration": c.Properties["config"], "failtaskonfailedtests": c.Properties["failtaskonfailedtests"],
		"failtaskonfailuretopublishresults": c.Properties["failtaskonfailuretopublishresults"]}
	if _, err := needProperty(c, "type"); err != nil {
		return err
	}
	if !strings.EqualFold(inputs["mergetestresults"], "false") {
		inputs["mergetestresults"] = "true"
	}
	files := c.Properties["resultfiles"]
	if files == "" {
		files = c.Data
	}
	if files == "" {
		return fault.New(fault.Invalid, "command-property", "the command needs the property resultfiles").Want("##vso[results.publish type=JUnit;resultFiles=FILE,FILE]")
	}
	t := s.context(&task.Task{})
	t.Inputs = inputs
	return task.PublishResultFiles(s.current(), t, strings.Split(files, ","))
}

func (s *step) publishCoverage(c command.Command) error {
	file, err := needProperty(c, "summaryfile")
	if err != nil {
		return err
	}
	t := s.context(&task.Task{})
	t.Inputs = map[string]string{"codecoveragetool": c.Properties["codecoveragetool"]}
	return task.PublishCoverageFiles(s.current(), t, []string{file}, c.Properties["reportdirectory"])
}

// current is the context of the attempt that runs.
func (s *step) current() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ctx
}

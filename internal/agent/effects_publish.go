package agent

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"penstock.dev/penstock/internal/agent/command"
	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/artifact"
	"penstock.dev/penstock/internal/domain/attachment"
	"penstock.dev/penstock/internal/domain/run"
)

// upload is a file or folder that goes into an artifact when the step is done.
type upload struct{ artifact, path string }

// file checks the path that a command names.
func (s *step) file(c command.Command) (string, os.FileInfo, error) {
	if c.Data == "" {
		return "", nil, fault.New(fault.Invalid, "command-data", "the command needs a path").Want("##vso[%s …]PATH", c.Name())
	}
	p := s.onMachine(filepath.FromSlash(c.Data))
	if !filepath.IsAbs(p) {
		base, _ := s.Lookup("System.DefaultWorkingDirectory")
		p = filepath.Join(base, p)
	}
	p, err := s.shared(p)
	if err != nil {
		return "", nil, err
	}
	info, err := os.Stat(p)
	if err != nil {
		return "", nil, fault.New(fault.NotFound, "no-path", "Path does not exist: %s", p)
	}
	return p, info, nil
}

// onMachine is a path that a program in a container may have named as the
// service's containers do.
func (s *step) onMachine(p string) string {
	if c, err := s.inside(); err != nil || c == nil {
		return p
	}
	tools, _ := s.Lookup("Agent.ToolsDirectory")
	for name, dir := range map[string]string{"/__w": s.machine.Work, "/__t": tools} {
		if rest, ok := strings.CutPrefix(p, name); ok && (rest == "" || rest[0] == '/') {
			return dir + rest
		}
	}
	return p
}

// shared refuses what a program in a container names and does not share with the
// machine: the file of that name here is another one, and none of its business.
// The path that it returns leads through no link.
func (s *step) shared(p string) (string, error) {
	if c, err := s.inside(); err != nil || c == nil {
		return p, err
	}
	real, err := filepath.EvalSymlinks(p)
	if err != nil {
		return p, nil // it is not there, which is said elsewhere
	}
	tools, _ := s.Lookup("Agent.ToolsDirectory")
	for _, dir := range []string{s.machine.Work, tools} {
		if dir, err = filepath.EvalSymlinks(dir); err == nil && (real == dir || strings.HasPrefix(real, dir+string(filepath.Separator))) {
			return real, nil
		}
	}
	return "", fault.New(fault.Invalid, "path-of-container", "the container shares the job's folders with the machine, and %s is not in them", p).
		Try("copy it to $(Build.ArtifactStagingDirectory) or $(Agent.TempDirectory) before")
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

// associate keeps where an artifact lies.
func associate(s *step, c command.Command) error {
	name, err := needProperty(c, "artifactname")
	if err != nil {
		return err
	}
	if c.Data == "" {
		return fault.New(fault.Invalid, "command-data", "the command needs a location").Want("##vso[artifact.associate artifactname=NAME;type=TYPE]LOCATION")
	}
	kind := cmp.Or(c.Properties["type"], c.Properties["artifacttype"], artifact.LinkType(c.Data))
	if kind == "" {
		return fault.New(fault.Invalid, "artifact-type", "the type of artifact %s cannot be told from its location", name).Got("%q", c.Data).
			Want("a property type: container, filepath, versioncontrol, gitref, or a name of your own")
	}
	return s.machine.Outcomes.Link(s.current(), s.m.RunID, task.Link{Name: s.Mask(name), Type: s.Mask(kind), Location: s.Mask(c.Data)})
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
	tag := strings.TrimSpace(s.Mask(c.Data))
	if tag == "" {
		return fault.New(fault.Invalid, "command-data", "the command needs a tag").Want("##vso[build.addbuildtag]TAG")
	}
	if err := run.CheckTag(tag); err != nil {
		return err
	}
	return s.machine.Outcomes.Tag(s.current(), s.m.RunID, tag)
}

// regular checks that a command names a file.
func (s *step) regular(c command.Command) (string, os.FileInfo, error) {
	p, info, err := s.file(c)
	if err == nil && !info.Mode().IsRegular() {
		err = fault.New(fault.Invalid, "not-a-file", "##vso[%s] takes a file, not a folder", c.Name()).Got("%s", p)
	}
	return p, info, err
}

// uploadSummary keeps Markdown for the run's page.
func uploadSummary(s *step, c command.Command) error {
	p, _, err := s.regular(c)
	if err != nil {
		return err
	}
	return s.summary(p, filepath.Base(p))
}

// summary sends a text without secrets. It is read as text, whatever UTF it was
// written in, so that the mask sees what a reader will see.
func (s *step) summary(p, name string) error {
	f, err := os.Open(p)
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "no-file", "the summary cannot be read")
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(transform.NewReader(f, unicode.BOMOverride(unicode.UTF8.NewDecoder())), attachment.MaxSummary+1))
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "no-file", "the summary cannot be read")
	}
	whole := len(text) <= attachment.MaxSummary
	masked := s.Mask(strings.ToValidUTF8(strings.ReplaceAll(string(text), "\x00", ""), "\uFFFD")) // UTF-16 without a mark is full of zeros
	if !whole || len(masked) > attachment.MaxSummary {
		const note = "\n\n… cut here\n"
		s.Issue("warning", fmt.Sprintf("summary %s is longer than %d bytes; the rest is left out", name, attachment.MaxSummary))
		masked = masked[:min(len(masked), attachment.MaxSummary-len(note))]
		masked = masked[:strings.LastIndexByte(masked, '\n')+1] + note // a part of a line may be a part of a secret
	}
	a := task.Attachment{Step: s.order, Type: attachment.Summary, Name: s.Mask(name), Size: int64(len(masked))}
	return s.machine.Outcomes.Attach(s.current(), s.m.RunID, a, strings.NewReader(masked))
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
		if err := attachment.CheckName(v); err != nil {
			return err
		}
	}
	p, _, err := s.regular(c)
	if err != nil {
		return err
	}
	if strings.EqualFold(kind, attachment.Summary) {
		return s.summary(p, name)
	}
	return s.attach(p, kind, name)
}

// attach sends a file as it is: its bytes are the step's own business.
func (s *step) attach(p, kind, name string) error {
	f, err := os.Open(p)
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "no-file", "the file cannot be read")
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > attachment.MaxSize {
		return fault.New(fault.Invalid, "attachment-too-large", "attachment %s is too large", name).Want("at most %d bytes", attachment.MaxSize).
			Got("%d", info.Size()).Try("publish it as an artifact")
	}
	a := task.Attachment{Step: s.order, Type: s.Mask(kind), Name: s.Mask(name), Size: info.Size()}
	// What the program still writes is not part of the file.
	return s.machine.Outcomes.Attach(s.current(), s.m.RunID, a, io.NewSectionReader(f, 0, info.Size()))
}

// uploadFile keeps a file with the run's logs.
func uploadFile(s *step, c command.Command) error {
	p, _, err := s.regular(c)
	if err != nil {
		return err
	}
	return s.attach(p, attachment.File, filepath.Base(p))
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
	list, err := s.sharedAll(strings.Split(files, ","))
	if err != nil {
		return err
	}
	return task.PublishResultFiles(s.current(), t, list)
}

// sharedAll is shared for what may be patterns, or relative.
func (s *step) sharedAll(list []string) (out []string, err error) {
	for _, p := range list {
		p = s.onMachine(p)
		if filepath.IsAbs(p) {
			if p, err = s.shared(p); err != nil {
				return nil, err
			}
		}
		out = append(out, p)
	}
	return out, nil
}

func (s *step) publishCoverage(c command.Command) error {
	file, err := needProperty(c, "summaryfile")
	if err != nil {
		return err
	}
	t := s.context(&task.Task{})
	t.Inputs = map[string]string{"codecoveragetool": c.Properties["codecoveragetool"]}
	list, err := s.sharedAll([]string{file, c.Properties["reportdirectory"]})
	if err != nil {
		return err
	}
	return task.PublishCoverageFiles(s.current(), t, list[:1], list[1])
}

// current is the context of the attempt that runs.
func (s *step) current() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ctx
}

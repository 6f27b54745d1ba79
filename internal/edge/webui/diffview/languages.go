package diffview

import (
	"path"
	"regexp"
	"strings"
	"sync"

	"github.com/alecthomas/chroma/v2"
)

// language says how a kind of file is coloured: the few inks need no more than
// comments, strings, words and names that are called. The library's own set of
// lexers would be read at every start of the program, by every command.
type language struct {
	files   string   // patterns of file names, lower case
	line    string   // begins a comment to the end of the line; several, by spaces
	block   []string // begin and end of a comment
	strings []string // regular expressions beside "…" and '…'
	words   string   // keywords
	more    []rule   // come first
}

type rule struct {
	pattern string
	token   chroma.Emitter
}

const (
	tripleDouble = `"""(?s:.*?)"""`
	tripleSingle = `'''(?s:.*?)'''`
	backquoted   = "`(?:\\\\(?s:.)|[^`\\\\])*`"
	cWords       = "if else for while do switch case default break continue return goto struct union enum typedef static const extern volatile inline sizeof void int char short long float double signed unsigned bool true false null NULL"
	jsWords      = "abstract any as async await boolean break case catch class const constructor continue debugger declare default delete do else enum export extends false finally for from function get if implements import in instanceof interface keyof let namespace never new null number of private protected public readonly return set static string super switch this throw true try type typeof undefined unknown var void while with yield"
	javaWords    = "abstract assert boolean break byte case catch char class const continue default do double else enum extends final finally float for if implements import instanceof int interface long native new null package private protected public record return sealed short static super switch synchronized this throw throws transient true false try var void volatile when while yield"
	csharpWords  = javaWords + " as async await base bool checked decimal delegate dynamic event explicit extern fixed foreach get global goto implicit in init internal is lock nameof namespace object operator out override params partial readonly ref required set sizeof stackalloc string struct typeof uint ulong unchecked unsafe using virtual where with"
)

var markup = []rule{
	{`<!--(?s:.*?)-->`, chroma.Comment},
	{`<!\[CDATA\[(?s:.*?)\]\]>`, chroma.LiteralString},
	{`(</?)([\w:.-]+)`, chroma.ByGroups(chroma.Punctuation, chroma.NameTag)},
	{`([\w:.-]+)(=)("[^"]*"|'[^']*')`, chroma.ByGroups(chroma.NameAttribute, chroma.Punctuation, chroma.LiteralString)},
	{`[^<"'=\s\w]+|\w+|\s+|.`, chroma.Text},
}

var languages = []*language{
	{files: "*.go", line: "//", block: []string{"/*", "*/"}, strings: []string{"`[^`]*`"}, words: "break case chan const continue default defer else fallthrough for func go goto if import interface map package range return select struct switch type var true false nil iota string bool byte rune error any int int8 int16 int32 int64 uint uint8 uint16 uint32 uint64 uintptr float32 float64"},
	{files: "*.yml *.yaml", line: "#", words: "true false null yes no on off", more: []rule{
		{`\$[\[({](?s:.*?)[\])}]`, chroma.NameBuiltin}, {`(?m)^([ \t-]*)([\w.$/ -]+?)(:)(?=\s|$)`, chroma.ByGroups(chroma.Text, chroma.NameTag, chroma.Punctuation)}}},
	{files: "*.json *.jsonc *.json5 *.jsonl *.webmanifest", line: "//", block: []string{"/*", "*/"}, words: "true false null", more: []rule{{`"(?:\\.|[^"\\\n])*"(?=\s*:)`, chroma.NameTag}}},
	{files: "*.toml *.ini *.cfg *.conf *.properties *.editorconfig .gitconfig", line: "# ;", strings: []string{tripleDouble, tripleSingle}, words: "true false", more: []rule{
		{`(?m)^\s*\[[^\]\n]*\]`, chroma.Keyword}, {`(?m)^([ \t]*)([\w.-]+)([ \t]*[=:])`, chroma.ByGroups(chroma.Text, chroma.NameTag, chroma.Punctuation)}}},
	{files: "*.sh *.bash *.zsh *.ksh *.bats .bashrc .profile", line: "#", strings: []string{`"(?:\\(?s:.)|[^"\\])*"`, `'[^']*'`}, words: "if then elif else fi for in do done while until case esac function select time export local readonly declare unset return exit break continue set shift trap source eval exec echo printf test cd", more: []rule{{`\$(?:\w+|\{[^}]*\}|[@*#?$!-])`, chroma.NameBuiltin}}},
	{files: "*.ps1 *.psm1 *.psd1", line: "#", block: []string{"<#", "#>"}, words: "if else elseif switch foreach for while do until function param return begin process end try catch finally throw break continue class enum using filter in", more: []rule{{`\$(?:\{[^}]*\}|[\w:]+)`, chroma.NameBuiltin}, {`\b[A-Z][a-z]+-[A-Z]\w+`, chroma.NameFunction}}},
	{files: "*.bat *.cmd", line: "REM rem ::", words: "if else for in do goto call set setlocal endlocal echo exit not exist defined", more: []rule{{`%\w+%|%%?~?\w`, chroma.NameBuiltin}}},
	{files: "*.py *.pyi *.pyw", line: "#", strings: []string{tripleDouble, tripleSingle}, words: "and as assert async await break case class continue def del elif else except False finally for from global if import in is lambda match None nonlocal not or pass raise return True try while with yield self", more: []rule{{`(?m)^\s*@[\w.]+`, chroma.NameFunction}}},
	{files: "*.js *.mjs *.cjs *.jsx *.ts *.tsx *.mts *.cts", line: "//", block: []string{"/*", "*/"}, strings: []string{backquoted}, words: jsWords},
	{files: "*.java *.kt *.kts *.scala *.groovy *.gradle jenkinsfile", line: "//", block: []string{"/*", "*/"}, strings: []string{tripleDouble}, words: javaWords + " fun val object companion data override open internal suspend is as in def trait implicit lazy match when import"},
	{files: "*.cs *.csx", line: "//", block: []string{"/*", "*/"}, strings: []string{tripleDouble, `[@$]+"(?:""|[^"])*"`}, words: csharpWords},
	{files: "*.c *.h *.cc *.cpp *.cxx *.hh *.hpp *.m *.mm *.proto *.thrift", line: "//", block: []string{"/*", "*/"}, words: cWords + " class namespace template typename public private protected virtual override final new delete this using try catch throw operator friend constexpr auto nullptr noexcept static_cast message service rpc returns repeated optional oneof import package option", more: []rule{{`(?m)^\s*#\s*\w+`, chroma.Keyword}}},
	{files: "*.rs", line: "//", block: []string{"/*", "*/"}, words: "as async await break const continue crate dyn else enum extern false fn for if impl in let loop match mod move mut pub ref return self Self static struct super trait true type unsafe use where while bool char str String i8 i16 i32 i64 u8 u16 u32 u64 usize isize f32 f64 Option Some None Result Ok Err", more: []rule{{`'\w+(?!')`, chroma.NameAttribute}, {`#!?\[[^\]\n]*\]`, chroma.NameAttribute}}},
	{files: "*.rb *.rake gemfile rakefile podfile", line: "#", words: "alias and begin break case class def defined do else elsif end ensure false for if in module next nil not or redo rescue retry return self super then true undef unless until when while yield require attr_accessor attr_reader private"},
	{files: "*.php", line: "// #", block: []string{"/*", "*/"}, words: javaWords + " echo function use namespace foreach as isset unset array global require require_once include include_once fn match endif endforeach endwhile", more: []rule{{`\$\w+`, chroma.NameBuiltin}}},
	{files: "*.swift *.dart", line: "//", block: []string{"/*", "*/"}, strings: []string{tripleDouble}, words: javaWords + " let func guard init deinit extension protocol struct inout lazy weak self nil some any associatedtype where fallthrough defer repeat async await late required library part show hide mixin on"},
	{files: "*.sql", line: "--", block: []string{"/*", "*/"}, words: "select from where and or not in is null insert into values update set delete create alter drop table index view trigger procedure function primary key foreign references unique constraint default join left right inner outer full on group by order having limit offset union all distinct as case when then else end begin commit rollback exists between like asc desc with returning SELECT FROM WHERE AND OR NOT IN IS NULL INSERT INTO VALUES UPDATE SET DELETE CREATE ALTER DROP TABLE INDEX VIEW TRIGGER PROCEDURE FUNCTION PRIMARY KEY FOREIGN REFERENCES UNIQUE CONSTRAINT DEFAULT JOIN LEFT RIGHT INNER OUTER FULL ON GROUP BY ORDER HAVING LIMIT OFFSET UNION ALL DISTINCT AS CASE WHEN THEN ELSE END BEGIN COMMIT ROLLBACK EXISTS BETWEEN LIKE ASC DESC WITH RETURNING"},
	{files: "*.tf *.tfvars *.hcl *.nomad", line: "# //", block: []string{"/*", "*/"}, words: "resource data variable output locals module provider terraform for in if true false null dynamic each", more: []rule{{`\$\{[^}\n]*\}`, chroma.NameBuiltin}, {`(?m)^([ \t]*)([\w-]+)([ \t]*=)`, chroma.ByGroups(chroma.Text, chroma.NameTag, chroma.Punctuation)}}},
	{files: "*.bicep", line: "//", block: []string{"/*", "*/"}, strings: []string{tripleSingle}, words: "param var resource module output targetScope existing if for in true false null import using func type metadata"},
	{files: "dockerfile dockerfile.* *.dockerfile containerfile", line: "#", words: "FROM AS RUN CMD LABEL EXPOSE ENV ADD COPY ENTRYPOINT VOLUME USER WORKDIR ARG ONBUILD STOPSIGNAL HEALTHCHECK SHELL", more: []rule{{`\$(?:\w+|\{[^}]*\})`, chroma.NameBuiltin}}},
	{files: "makefile *.mk gnumakefile", line: "#", words: "ifeq ifneq ifdef ifndef else endif include define endef export override", more: []rule{{`\$[({][^)}\n]*[)}]|\$.`, chroma.NameBuiltin}, {`(?m)^[\w./%-]+(?=\s*:(?!=))`, chroma.NameFunction}}},
	{files: "*.css *.scss *.less", line: "//", block: []string{"/*", "*/"}, words: "important", more: []rule{{`@[\w-]+`, chroma.Keyword}, {`[\w-]+(?=\s*:)`, chroma.NameAttribute}, {`[.#][A-Za-z][\w-]*`, chroma.NameClass}, {`#[0-9a-fA-F]{3,8}\b`, chroma.LiteralNumber}}},
	{files: "*.xml *.html *.htm *.xhtml *.svg *.vue *.csproj *.fsproj *.vbproj *.props *.targets *.config *.xaml *.resx *.nuspec *.wsdl *.xsd *.xsl *.cshtml *.razor", more: markup},
	{files: "*.md *.markdown", more: []rule{{"(?m)^```[^\\n]*\\n(?s:.*?)^```", chroma.LiteralString}, {`(?m)^#{1,6} [^\n]*`, chroma.Keyword}, {"`[^`\n]+`", chroma.LiteralString}, {`\[[^\]\n]*\]\([^)\n]*\)`, chroma.NameFunction}, {"[^`#\\[\\n]+|\\n|.", chroma.Text}}},
}

// rules are what the library's engine takes; the first that matches wins.
func (l *language) rules() chroma.Rules {
	var list []chroma.Rule
	add := func(pattern string, token chroma.Emitter) {
		list = append(list, chroma.Rule{Pattern: pattern, Type: token})
	}
	if len(l.block) == 2 {
		add(regexp.QuoteMeta(l.block[0])+`(?s:.*?)(?:`+regexp.QuoteMeta(l.block[1])+`|\z)`, chroma.Comment)
	}
	for _, begin := range strings.Fields(l.line) {
		switch begin[0] {
		case '#', ';': // inside a word it is no comment
			add(`(?m)(?<![^\s])`+regexp.QuoteMeta(begin)+`[^\n]*`, chroma.Comment)
		case 'R', 'r', ':':
			add(`(?m)^\s*@?`+regexp.QuoteMeta(begin)+`\b[^\n]*`, chroma.Comment)
		default:
			add(regexp.QuoteMeta(begin)+`[^\n]*`, chroma.Comment)
		}
	}
	for _, s := range l.strings {
		add(s, chroma.LiteralString)
	}
	for _, r := range l.more {
		add(r.pattern, r.token)
	}
	add(`"(?:\\.|[^"\\\n])*"`, chroma.LiteralString)
	add(`'(?:\\.|[^'\\\n])*'`, chroma.LiteralString)
	add(`\b(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?)\w*\b`, chroma.LiteralNumber)
	if l.words != "" {
		add(`(?<![\w.-])(?:`+strings.Join(strings.Fields(l.words), "|")+`)(?![\w-])`, chroma.Keyword)
	}
	add(`[A-Za-z_]\w*(?=\()`, chroma.NameFunction)
	add(`\w+`, chroma.Name)
	add(`\s+`, chroma.Text)
	add(`.`, chroma.Punctuation)
	return chroma.Rules{"root": list}
}

var (
	lexersMu sync.Mutex
	lexersOf = map[*language]chroma.Lexer{}
)

// lexerFor returns the lexer of a file, nil if its kind is not known.
func lexerFor(name string) chroma.Lexer {
	name = strings.ToLower(path.Base(name))
	for _, l := range languages {
		for _, pattern := range strings.Fields(l.files) {
			if ok, err := path.Match(pattern, name); err != nil || !ok {
				continue
			}
			lexersMu.Lock()
			defer lexersMu.Unlock()
			if lexersOf[l] == nil {
				lexersOf[l] = chroma.MustNewLexer(&chroma.Config{Name: pattern, EnsureNL: true}, l.rules)
			}
			return lexersOf[l]
		}
	}
	return nil
}

#!/usr/bin/env bash
# Sets up what the tests need and runs all of them: ./test.sh
# ./test.sh quick leaves out the linters, the stories and the browser.
set -euo pipefail
cd "$(dirname "$0")"

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

# need PROGRAM PACKAGE: installs a Debian package if the program is missing.
need() {
  command -v "$1" >/dev/null && return
  say "installing $2"
  local as=()
  [ "$(id -u)" = 0 ] || as=(sudo)
  [ -n "${updated:-}" ] || { "${as[@]}" apt-get update -qq; updated=1; }
  "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $2 >/dev/null
}

need git git
need python3 python3 # for cases of Python tasks
need curl curl # what a sandboxed job reaches
[ -x /usr/sbin/sshd ] || need sshd "openssh-server openssh-sftp-server" # the other machine of SSH tasks
need ssh openssh-client
need gcc "gcc libc6-dev" # the race detector links with C
export CGO_ENABLED=1 # for the tests only: the product is built without
export GORACE="atexit_sleep_ms=0${GORACE:+ $GORACE}" # test programs end at once, not after a second
tools=$(go env GOPATH)/bin

say "build"
CGO_ENABLED=0 go build -o penstock ./cmd/penstock
go mod verify >/dev/null
go mod tidy -diff
test -z "$(gofmt -l cmd internal e2e examples web bench)" || { echo "gofmt -l finds unformatted files"; exit 1; }

if [ "${1:-}" = quick ]; then
  say "tests"
  go test -race $(go list ./... | grep -v /e2e)
  exit
fi

say "generated code"
go generate ./... && git diff --exit-code --stat

say "lint"
[ "$("$tools"/golangci-lint version --short 2>/dev/null || true)" = 2.15.0 ] || GOFLAGS= CGO_ENABLED=0 go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
"$tools"/golangci-lint run ./...

say "known vulnerabilities"
[ -x "$tools"/govulncheck ] || CGO_ENABLED=0 go install golang.org/x/vuln/cmd/govulncheck@v1.1.4
if ! out=$("$tools"/govulncheck ./... 2>&1); then
  # Without its database the check knows nothing; it must not pass for a pass.
  if grep -qE 'fetching vulnerabilities|vuln.go.dev|connection refused|no such host|Forbidden' <<<"$out"; then
    echo "NOT CHECKED: the vulnerability database cannot be reached from here"
  else
    echo "$out"; exit 1
  fi
fi

say "cross-compile: other systems"
for target in linux/arm64 darwin/arm64 windows/amd64; do
  GOOS=${target%/*} GOARCH=${target#*/} CGO_ENABLED=0 go vet ./cmd/... ./internal/agent/... ./internal/server ./internal/edge/localrun
done

say "example"
(cd examples/storefront && go vet ./... && go test ./...)

need chromium chromium
say "tests"
go test -race -timeout 40m ./...

say "all passed"

package cause

import "penstock.dev/penstock/internal/base/pattern"

// notFound is what shells say of a program that is not there.
var notFound = pattern.Lazy(`(?:line \d+|\d+): ([A-Za-z0-9_.+-]{1,64}): (?:command )?not found$`)

// Absent is the program that a line of a shell misses; "" = it says something
// else.
func Absent(line string) string {
	if m := notFound().FindStringSubmatch(line); m != nil {
		return m[1]
	}
	return ""
}

// installs is how programs come to a machine that the service's own agents have.
var installs = map[string]string{
	"yarn": "npm install --global yarn", "pnpm": "npm install --global pnpm", "dotnet": "https://dot.net, or UseDotNet@2 before", "pwsh": "https://learn.microsoft.com/powershell/scripting/install",
	"az": "https://learn.microsoft.com/cli/azure/install-azure-cli", "gh": "https://cli.github.com", "kubectl": "https://kubernetes.io/docs/tasks/tools", "helm": "https://helm.sh/docs/intro/install",
	"terraform": "https://developer.hashicorp.com/terraform/install", "docker": "https://docs.docker.com/engine/install", "docker-compose": "package docker-compose", "sudo": "package sudo",
	"python": "package python-is-python3, or UsePythonVersion@0 before", "python3": "package python3", "pip": "package python3-pip, or UsePythonVersion@0 before", "pip3": "package python3-pip",
	"node": "https://nodejs.org, or UseNode@1 before", "npm": "https://nodejs.org, or UseNode@1 before", "npx": "https://nodejs.org, or UseNode@1 before", "go": "https://go.dev/dl, or GoTool@0 before",
	"java": "package default-jdk", "mvn": "package maven", "gradle": "package gradle", "ant": "package ant", "cargo": "https://rustup.rs", "rustup": "https://rustup.rs", "ruby": "package ruby",
	"cmake": "package cmake", "ninja": "package ninja-build", "make": "package make", "gcc": "package gcc", "g++": "package g++", "clang": "package clang", "jq": "package jq", "zip": "package zip",
	"unzip": "package unzip", "rsync": "package rsync", "curl": "package curl", "wget": "package wget", "7z": "package p7zip-full", "conda": "https://docs.conda.io", "R": "package r-base", "Rscript": "package r-base",
	"choco": "it is one of Windows", "brew": "https://brew.sh; it is one of macOS",
}

// absent explains the exit code of a shell that did not find a program.
func absent(program string) string {
	text := "not installed: " + program + " is not on the PATH of this machine"
	if how := installs[program]; how != "" {
		text += " (" + how + ")"
	}
	return text
}

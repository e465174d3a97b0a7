#!/usr/bin/env bash
# opencode as a parent: it has two packages of a small project counted by two pods of its own.
#
# Each pod may write its own package and nothing else; the kernel sees to that. Wants `opencode`
# with a model of yours (`opencode auth login`, or a provider in its configuration), and `pods`:
#
#     bash examples/opencode_parent.sh
set -euo pipefail

project=$(mktemp -d)
trap 'rm -rf "$project"' EXIT
cd "$project"
for package in parser printer; do
  mkdir "$package"
  seq -f "print(%g)" 10 > "$package/main.py"
done

# opencode has no command that adds a server, and merges a project's file with your own. In a
# project that has an opencode.json put what is printed into it.
pods mcp --config opencode > opencode.json

opencode run "This directory has two packages, parser and printer.
For each of them spawn a pod with the agent \"shell\", named as the package, with the package's
directory as its cwd and the one thing it may write, and the prompt
    wc -l *.py > report.txt; cat report.txt
Wait for both with ReadPodOutput, stop them, and say what they reported."

# What a pod said can be read after its end too, until it is removed.
for package in parser printer; do pods read "$package" --since 0; done
pods rm parser printer

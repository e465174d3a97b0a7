#!/usr/bin/env bash
# Claude Code as a parent: it has two packages of a small project counted by two pods of its own.
#
# Each pod may write its own package and nothing else; the kernel sees to that. Wants `claude`,
# logged in or with ANTHROPIC_API_KEY (and ANTHROPIC_BASE_URL, for a model elsewhere), and `pods`:
#
#     bash examples/claude_parent.sh
set -euo pipefail

project=$(mktemp -d)
trap 'rm -rf "$project"' EXIT
cd "$project"
for package in parser printer; do
  mkdir "$package"
  seq -f "print(%g)" 10 > "$package/main.py"
done

# Once on a machine, for all its projects: from then on Claude Code has the five tools.
claude mcp get pods > /dev/null 2>&1 || pods mcp --install claude

# `mcp__pods` allows all five tools; for its own ones Claude Code asks you as ever.
claude -p --allowedTools mcp__pods -- "This directory has two packages, parser and printer.
For each of them spawn a pod with the agent \"shell\", named as the package, with the package's
directory as its cwd and the one thing it may write, and the prompt
    wc -l *.py > report.txt; cat report.txt
Wait for both with ReadPodOutput, stop them, and say what they reported."

# What a pod said can be read after its end too, until it is removed.
for package in parser printer; do pods read "$package" --since 0; done
pods rm parser printer

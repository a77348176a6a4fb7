#!/usr/bin/env bash
# Runs each fuzz target of the module for a time: scripts/fuzz.sh 30s [package...]
# A finding is written to the package's testdata/fuzz and fails the run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
duration=${1:?usage: scripts/fuzz.sh DURATION [package...]}
shift
[ $# -gt 0 ] || set -- ./...

targets=0
failed=()
packages=$(go list "$@")
for package in $packages; do
	list=$(go test -list '^Fuzz' "$package")
	for target in $(grep '^Fuzz' <<<"$list" || true); do # the list ends with a line "ok"
		targets=$((targets + 1))
		printf '== %s %s for %s\n' "$package" "$target" "$duration"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$duration" "$package" || failed+=("$package $target")
	done
done
printf '== fuzz: %s targets, %s failed\n' "$targets" "${#failed[@]}"
[ "${#failed[@]}" = 0 ] || { printf '   %s\n' "${failed[@]}"; exit 1; }
[ "$targets" -gt 0 ] || { echo "fuzz: no target was found" >&2; exit 1; }

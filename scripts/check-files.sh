#!/usr/bin/env bash
# The checks of `make check` that look at files and need no tool of their own.
# Prints every finding, then fails if there was one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# A file that is longer than this wants a second noun to be taken out of it.
readonly most_lines=500

found=0
finding() {
	printf 'check: %s\n' "$1" >&2
	found=1
}

sources() { scripts/sources.sh "$@"; }
sources >/dev/null # fails here, and not unseen in one of the loops below

unformatted=$(sources '*.go' | xargs -0 -r gofmt -l)
[ -z "$unformatted" ] || finding "not formatted; run: gofmt -w $(tr '\n' ' ' <<<"$unformatted")"

while IFS= read -r -d '' file; do
	lines=$(wc -l <"$file")
	if [ "$lines" -gt "$most_lines" ] && ! head -5 "$file" | grep -q 'Code generated'; then
		finding "$file has $lines lines; $most_lines is the limit: look for the second noun inside it"
	fi
done < <(sources '*.go' '*.ts' '*.tsx' '*.mjs')

# A lock file names versions and checksums. An address in it would tie the
# build to one registry; .npmrc (omit-lockfile-registry-resolved) keeps them out.
while IFS= read -r -d '' file; do
	addresses=$(grep -nE '"resolved"|https?://' "$file" | grep -vE '"url": "https?://' || true)
	[ -z "$addresses" ] || finding "$file holds download addresses, as in line ${addresses%%:*}:
  remove it and node_modules and run npm install in its folder"
	grep -qx 'omit-lockfile-registry-resolved=true' "$(dirname "$file")/.npmrc" 2>/dev/null ||
		finding "$(dirname "$file")/.npmrc must say omit-lockfile-registry-resolved=true"
done < <(sources '*package-lock.json')

# A test that is skipped, or that makes the others be left out, is no test.
# Where a skip is right, a comment on the same line says so: "skip: <reason>".
skips=$({
	sources '*_test.go' | xargs -0 -r grep -nE '\bt\.Skip(Now|f)?\(|testing\.Short\(' /dev/null
	sources '*.test.ts' '*.test.tsx' '*.test.mjs' | xargs -0 -r grep -nE '\b(test|it|describe)\.(skip|only|todo)\b' /dev/null
} | grep -v 'skip: ' || true)
[ -z "$skips" ] || finding "skipped tests without a reason on the line (skip: ...):
$skips"

while IFS= read -r -d '' file; do
	bash -n "$file" || finding "$file is no valid shell script"
done < <(sources '*.sh' '.ci/run')
if command -v shellcheck >/dev/null; then
	sources '*.sh' '.ci/run' | xargs -0 -r shellcheck || finding "shellcheck has findings"
else
	printf 'check: note: shellcheck is not installed; the shell scripts were only parsed\n' >&2
fi

exit "$found"

#!/usr/bin/env bash
# Runs fuzz targets of the module, each for a time:
#   scripts/fuzz.sh DURATION [package...]
# Only those that FUZZ_TARGETS names, if it is set, all of which must be there;
# FUZZ_JOBS (1) of them at once, each on FUZZ_PROCS cores (default: all).
# A finding is written to the package's testdata/fuzz and fails the run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The coordinator of Go before 1.27 sometimes takes the end of -fuzztime for a
# failure (go.dev/issue/75804): all that it says then is "context deadline
# exceeded", and it has written no input. That is no finding, if the target then
# passes with all inputs that it knows. Nothing else is passed over.
ended_by_the_clock() { # log
	! grep -qE 'Failing input written|panic:|DATA RACE|hung or terminated' "$1" &&
		[ "$(grep -A1 -E '^ *--- FAIL: ' "$1" | sed 's/^ *//; s/ ([0-9.]*s)$//')" = "--- FAIL: $target
context deadline exceeded" ]
}

one() { # package target duration
	local package=$1 target=$2 duration=$3 status=0
	log=$(mktemp) # not local: the trap runs outside
	trap 'rm -f "$log"' EXIT
	go test -run '^$' -fuzz "^$target\$" -fuzztime "$duration" ${FUZZ_PROCS:+-parallel "$FUZZ_PROCS"} "$package" >"$log" 2>&1 || status=$?
	local execs
	execs=$(grep -oE 'execs: [0-9]+' "$log" | tail -1 | grep -oE '[0-9]+' || echo 0)
	if [ "$status" != 0 ] && ended_by_the_clock "$log"; then
		status=0
		go test -run "^$target\$" "$package" >>"$log" 2>&1 || status=$?
	fi
	# A target that ran nothing has shown nothing.
	if [ "$status" = 0 ] && [ "$execs" = 0 ]; then
		echo "no input was tried" >>"$log"
		status=1
	fi
	if [ "$status" != 0 ]; then
		printf '== %s %s FAILED\n%s\n' "$package" "$target" "$(<"$log")"
		return 1
	fi
	printf '== %s %s: %s inputs in %s\n' "$package" "$target" "$execs" "$duration"
}
if [ "${1:-}" = --one ]; then
	one "$2" "$3" "$4"
	exit
fi

duration=${1:?usage: scripts/fuzz.sh DURATION [package...]}
shift
[ $# -gt 0 ] || set -- ./...

# The targets, as lines of package and name.
# shellcheck disable=SC2016 # go list expands them
files=$(go list -f '{{$p := .}}{{range .TestGoFiles}}{{$p.ImportPath}} {{$p.Dir}}/{{.}}
{{end}}{{range .XTestGoFiles}}{{$p.ImportPath}} {{$p.Dir}}/{{.}}
{{end}}' "$@")
targets=$(while read -r package file; do
	[ -n "$package" ] || continue
	sed -nE "s|^func (Fuzz[A-Za-z0-9_]*)\(.*|$package \1|p" "$file"
done <<<"$files")
if [ -n "${FUZZ_TARGETS:-}" ]; then
	chosen=
	for name in $FUZZ_TARGETS; do
		found=$(grep " $name\$" <<<"$targets") || { echo "fuzz: there is no target $name" >&2; exit 1; }
		chosen+=$found$'\n'
	done
	targets=${chosen%$'\n'}
fi
[ -n "$targets" ] || { echo "fuzz: no target was found" >&2; exit 1; }

# Each prints what it has to say in one go, when it is done.
failed=0
while read -r line; do
	[ -z "$line" ] || echo "$line $duration"
done <<<"$targets" | xargs -P "${FUZZ_JOBS:-1}" -L 1 scripts/fuzz.sh --one || failed=1
printf '== fuzz: %s targets, %s each\n' "$(wc -l <<<"$targets")" "$duration"
[ "$failed" = 0 ] || { echo "== fuzz: FAILED, see above" >&2; exit 1; }

#!/usr/bin/env bash
# Runs the browser tests, a file at a time. All of them run, also after a failure,
# and each runs once: a test that is right only now and then is a failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../web"

failed=()
for file in e2e/*.test.mjs; do
	node --import tsx --test --test-concurrency=1 "$file" || failed+=("$file")
done
[ ${#failed[@]} = 0 ] || { printf '== failed: %s\n' "${failed[*]}" >&2; exit 1; }

#!/usr/bin/env bash
# Fails when `go generate` would change a file: what is generated must be
# committed as it comes out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

sums() { scripts/sources.sh | xargs -0 -r sha256sum; }

before=$(sums)
go generate ./...
if ! changed=$(diff <(printf '%s\n' "$before") <(sums)); then
	printf 'check: generated files were stale and have been renewed; commit them:\n%s\n' \
		"$(sed -n 's/^> [0-9a-f]*  /  /p' <<<"$changed" | sort -u)" >&2
	exit 1
fi

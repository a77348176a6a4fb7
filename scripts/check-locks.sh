#!/usr/bin/env bash
# Fails when `npm ci` would refuse a lock file: it installs nothing, and asks the
# registry only for what the lock file lacks.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

found=0
while IFS= read -r -d '' file; do
	folder=$(dirname "$file")
	if ! said=$(cd "$folder" && npm ci --dry-run --loglevel=error 2>&1 </dev/null); then
		printf 'check: npm ci refuses %s; run npm install --package-lock-only in %s:\n%s\n' "$file" "$folder" "$(head -20 <<<"$said")" >&2
		found=1
	fi
done < <(scripts/sources.sh '*package-lock.json')
exit "$found"

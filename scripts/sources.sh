#!/usr/bin/env bash
# Lists the project's own files, committed or not yet, each ended by a NUL:
# scripts/sources.sh [git pathspec...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# In a container the tree often belongs to another user than the one who runs
# the checks; git refuses such a tree unless it is told that it is meant.
git -c safe.directory="$PWD" ls-files -z --cached --others --exclude-standard -- "$@" |
	while IFS= read -r -d '' file; do
		if [ -f "$file" ]; then # one that was deleted is listed until that is committed
			printf '%s\0' "$file"
		fi
	done

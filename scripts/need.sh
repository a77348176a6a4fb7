#!/usr/bin/env bash
# Makes sure of what the tests need, or says what to install.
#
#   scripts/need.sh node       Node 20.19 or newer, with npm
#   scripts/need.sh gcc        a C compiler, for the race detector
#   scripts/need.sh chromium   a Chromium; prints its path. CHROMIUM names another
#   scripts/need.sh codex      the codex-acp agent; prints its path.
#                              SESSIONHUB_TEST_CODEX_ACP names another
#
# Only paths go to stdout, so that a caller can take them. Running it again does
# nothing when all is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'need: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

# apt_install NAME... installs Debian packages, as root or with a sudo that does
# not ask.
apt_install() {
	local -a as_root=()
	command -v apt-get >/dev/null || return 1
	if [ "$(id -u)" != 0 ]; then
		sudo -n true 2>/dev/null || return 1
		as_root=(sudo -n)
	fi
	say "installing Debian packages: $*"
	# A fresh machine has no package lists, an old one lists that are out of date.
	"${as_root[@]}" apt-get -qq update >&2 </dev/null || say "apt-get update failed; trying with the lists that are there"
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
		apt-get -qq install -y --no-install-recommends "$@" >&2 </dev/null
}

need_node() {
	if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
		die "Node with npm is missing: install Node 20.19 or newer (nodejs.org)"
	fi
	node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' ||
		die "Node $(node --version) is too old: install Node 20.19 or newer (nodejs.org)"
}

need_gcc() {
	command -v "${CC:-gcc}" >/dev/null && return
	apt_install gcc libc6-dev || true
	command -v "${CC:-gcc}" >/dev/null ||
		die "${CC:-gcc} is missing, which the race detector needs: apt-get install gcc libc6-dev"
}

find_chromium() {
	local name
	if [ -n "${CHROMIUM:-}" ]; then
		command -v "$CHROMIUM" || die "CHROMIUM is $CHROMIUM, which is no program"
		return
	fi
	for name in chromium chromium-browser google-chrome google-chrome-stable; do
		command -v "$name" && return
	done
	return 1
}

need_chromium() {
	find_chromium && return
	apt_install chromium >&2 || true
	find_chromium || die "Chromium is missing: apt-get install chromium, or set CHROMIUM to the path of a Chrome or Chromium"
}

# The package's own launcher is a Node script that starts the native binary and
# waits for it. The tests start the binary itself: one process less to end.
find_codex() {
	local binary
	for binary in agents/node_modules/@zed-industries/codex-acp-*/bin/codex-acp; do
		[ -x "$binary" ] && printf '%s/%s\n' "$PWD" "$binary" && return
	done
	return 1
}

need_codex() {
	if [ -n "${SESSIONHUB_TEST_CODEX_ACP:-}" ]; then
		command -v "$SESSIONHUB_TEST_CODEX_ACP" ||
			die "SESSIONHUB_TEST_CODEX_ACP is $SESSIONHUB_TEST_CODEX_ACP, which is no program"
		return
	fi
	need_node
	# npm writes this file last, so it also tells whether an install was cut short.
	if [ ! agents/node_modules/.package-lock.json -nt agents/package-lock.json ]; then
		say "installing the agents of agents/package-lock.json"
		(cd agents && npm ci --no-progress --loglevel=error >&2 </dev/null) ||
			die "the agents could not be installed: see npm's message above"
		touch agents/node_modules/.package-lock.json
	fi
	local path
	path=$(find_codex) || die "codex-acp has no binary for $(uname -sm): set SESSIONHUB_TEST_CODEX_ACP to the path of one"
	"$path" --help >/dev/null 2>&1 ||
		die "$path does not start; missing libraries: $(ldd "$path" 2>/dev/null | grep 'not found' || echo none)" \
			"(Debian: apt-get install libssl3 zlib1g libgcc-s1)"
	printf '%s\n' "$path"
}

case "${1:-}" in
node) need_node ;;
gcc) need_gcc ;;
chromium) need_chromium ;;
codex) need_codex ;;
*) die "usage: scripts/need.sh node|gcc|chromium|codex" ;;
esac

#!/usr/bin/env bash
# Makes sure of what the tests need, or says what to install.
#
#   scripts/need.sh node       Node 20.19 or newer, with npm
#   scripts/need.sh gcc        a C compiler, for the race detector
#   scripts/need.sh chromium   a Chromium; prints its path. CHROMIUM names another
#   scripts/need.sh codex      the codex-acp agent; prints its path.
#                              SESSIONHUB_TEST_CODEX_ACP names another
#   scripts/need.sh claude     the claude-agent-acp agent; prints its path.
#                              SESSIONHUB_TEST_CLAUDE_ACP names another
#   scripts/need.sh more       the agents of agents/more; prints the folder of their
#                              programs. SESSIONHUB_TEST_MORE_AGENTS names another
#   scripts/need.sh valkey     valkey-server 8 or newer; prints its path.
#                              SESSIONHUB_TEST_VALKEY names another
#   scripts/need.sh redis      redis-server 7 or newer; prints its path.
#                              SESSIONHUB_TEST_REDIS names another
#   scripts/need.sh nginx|haproxy|caddy
#                              these proxies; prints the path. SESSIONHUB_TEST_NGINX,
#                              SESSIONHUB_TEST_HAPROXY, SESSIONHUB_TEST_CADDY name others
#
# Only paths go to stdout, so that a caller can take them. Running it again does
# nothing when all is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly tools=$PWD/.tools # what is unpacked here; git ignores it

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

# named_program prints the path that a variable names; 1: it names none.
named_program() {
	[ -n "${!1:-}" ] || return 1
	command -v "${!1}" || die "$1 is ${!1}, which is no program"
}

# install_agents puts what a folder's lock file names beside it.
install_agents() {
	need_node
	# npm writes this file last, so it also tells whether an install was cut short.
	if [ ! "$1/node_modules/.package-lock.json" -nt "$1/package-lock.json" ]; then
		say "installing the agents of $1/package-lock.json; half a minute the first time"
		(cd "$1" && npm ci --no-progress --loglevel=error >&2 </dev/null) ||
			die "the agents could not be installed: see npm's message above"
		touch "$1/node_modules/.package-lock.json"
	fi
}

need_codex() {
	local path
	named_program SESSIONHUB_TEST_CODEX_ACP && return
	install_agents agents
	path=$(find_codex) || die "codex-acp has no binary for $(uname -sm): set SESSIONHUB_TEST_CODEX_ACP to the path of one"
	"$path" --help >/dev/null 2>&1 ||
		die "$path does not start; missing libraries: $(ldd "$path" 2>/dev/null | grep 'not found' || echo none)" \
			"(Debian: apt-get install libssl3 zlib1g libgcc-s1)"
	printf '%s\n' "$path"
}

need_claude() {
	named_program SESSIONHUB_TEST_CLAUDE_ACP && return
	install_agents agents
	local path=$PWD/agents/node_modules/.bin/claude-agent-acp version
	# The agent is a Node script around a native binary of its own.
	version=$("$path" --cli --version 2>&1 </dev/null) ||
		die "claude-agent-acp has no working binary for $(uname -sm): $version"
	printf '%s\n' "$path"
}

# These bring their own Node: some are made for 22.
need_more() {
	local folder=${SESSIONHUB_TEST_MORE_AGENTS:-} name
	if [ -z "$folder" ]; then
		install_agents agents/more
		folder=$PWD/agents/more/node_modules/.bin
		# The platform's own package: the launcher's lock names packages of other
		# platforms, which not every registry has.
		ln -sf ../opencode-linux-x64/bin/opencode "$folder/opencode"
	fi
	for name in node gemini opencode qwen; do
		PATH=$folder:$PATH "$folder/$name" --version </dev/null >/dev/null 2>&1 || die "$folder/$name does not start"
	done
	PATH=$folder:$PATH "$folder/claude-agent-acp" --cli --version </dev/null >/dev/null 2>&1 ||
		die "$folder/claude-agent-acp does not start"
	printf '%s\n' "$folder"
}

# server_major prints the major version of a valkey-server or redis-server, or
# fails.
server_major() {
	"$1" --version 2>/dev/null </dev/null | sed -n 's/.*[ =]v=\([0-9][0-9]*\)\..*/\1/p' | grep .
}

# on_bookworm runs apt-get or apt-cache with lists and a cache of its own, which
# know Debian 12 and its backports besides: nothing of the system is changed, and
# root is not needed. The mirror is the one that the system uses.
on_bookworm() {
	local dir=$tools/apt program=$1 uri
	shift
	if [ ! -e "$dir/sources/bookworm.sources" ]; then
		# shellcheck disable=SC2016 # apt-get expands them
		uri=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' |
			awk '$2 == "bookworm" && $3 == "main" { print $1; exit }')
		[ -n "$uri" ] || return 1
		mkdir -p "$dir/sources" "$dir/lists/partial" "$dir/cache/archives/partial"
		printf '%s\n' 'Types: deb' "URIs: $uri" 'Suites: bookworm bookworm-backports' 'Components: main' \
			'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg' >"$dir/sources/bookworm.sources"
	fi
	"$program" -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$dir/sources" -o Dir::State::lists="$dir/lists" \
		-o Dir::Cache="$dir/cache" -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none "$@" >&2 </dev/null
}

# unpack_server NAME PROGRAM PACKAGE... unpacks Debian 12 packages into .tools/NAME,
# with a script beside them, of the program's name, that starts it with the libraries
# that came along. Installing them would start a service on this machine, which
# nobody asked for.
unpack_server() {
	local dir=$tools/$1 program=$2 name libraries package
	name=$(basename "$program")
	shift 2
	command -v apt-get >/dev/null && command -v dpkg >/dev/null || return 1
	say "unpacking Debian packages into .tools: $*"
	rm -rf "$dir"
	mkdir -p "$dir/packages"
	on_bookworm apt-get -qq update || return 1
	(cd "$dir/packages" && on_bookworm apt-get -qq download "$@") || return 1
	for package in "$dir"/packages/*.deb; do
		dpkg -x "$package" "$dir/root" || return 1
	done
	rm -rf "$dir/packages"
	libraries=$(echo "$dir"/root/usr/lib/*-linux-gnu*)
	# The last step, so that what was cut short is done again.
	printf '#!/bin/sh\nLD_LIBRARY_PATH=%q exec %q "$@"\n' "$libraries" "$dir/root/$program" >"$dir/$name.new"
	chmod +x "$dir/$name.new"
	mv "$dir/$name.new" "$dir/$name"
}

# need_server NAME MAJOR PACKAGE... prints the path of a server of that version at
# least: the one of the system, or one that is unpacked here.
need_server() {
	local name=$1 major=$2 path have
	shift 2
	path=$(command -v "$name-server") && have=$(server_major "$path") && [ "$have" -ge "$major" ] && printf '%s\n' "$path" && return
	path=$tools/$name/$name-server
	server_major "$path" >/dev/null || unpack_server "$name" "usr/bin/$name-server" "$@" || true
	have=$(server_major "$path") && [ "$have" -ge "$major" ] && printf '%s\n' "$path" && return
	return 1
}

need_valkey() {
	named_program SESSIONHUB_TEST_VALKEY && return
	need_server valkey 8 valkey-server/bookworm-backports valkey-tools/bookworm-backports libjemalloc2 liblzf1 ||
		die "valkey-server 8 or newer is missing: install it (Debian 12: apt-get install -t bookworm-backports valkey-server)," \
			"or set SESSIONHUB_TEST_VALKEY to the path of one"
}

need_redis() {
	named_program SESSIONHUB_TEST_REDIS && return
	need_server redis 7 redis-server redis-tools libjemalloc2 liblzf1 liblua5.1-0 lua-bitop lua-cjson libhiredis0.14 ||
		die "redis-server 7 or newer is missing: apt-get install redis-server, or set SESSIONHUB_TEST_REDIS to the path of one"
}

# need_proxy NAME PROGRAM VERSION_FLAG PACKAGE... prints the path of a proxy: the one
# of the system, or one that is unpacked here.
need_proxy() {
	local name=$1 program=$2 flag=$3 path
	shift 3
	named_program "SESSIONHUB_TEST_${name^^}" && return
	for path in "$(command -v "$name" || true)" "/usr/sbin/$name" "$tools/$name/$name"; do
		[ -x "$path" ] && "$path" "$flag" >/dev/null 2>&1 </dev/null && printf '%s\n' "$path" && return
	done
	unpack_server "$name" "$program" "$@" || true
	path=$tools/$name/$name
	"$path" "$flag" >/dev/null 2>&1 </dev/null ||
		die "$name is missing: apt-get install $name, or set SESSIONHUB_TEST_${name^^} to the path of one"
	printf '%s\n' "$path"
}

case "${1:-}" in
node) need_node ;;
gcc) need_gcc ;;
chromium) need_chromium ;;
codex) need_codex ;;
claude) need_claude ;;
more) need_more ;;
valkey) need_valkey ;;
redis) need_redis ;;
nginx) need_proxy nginx usr/sbin/nginx -v nginx ;;
haproxy) need_proxy haproxy usr/sbin/haproxy -v haproxy liblua5.3-0 libopentracing-c-wrapper0 libopentracing1 ;;
caddy) need_proxy caddy usr/bin/caddy version caddy ;;
*) die "usage: scripts/need.sh node|gcc|chromium|codex|claude|more|valkey|redis|nginx|haproxy|caddy" ;;
esac

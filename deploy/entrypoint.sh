#!/bin/sh
# The entry point of the image. A node that runs alone keeps its sessions in /data; one
# whose settings name a Valkey, or a directory, keeps them there.
set -eu
if [ "${1-}" = serve ] && [ -z "${SESSIONHUB_VALKEY_URL-}${SESSIONHUB_VALKEY_URL_FILE-}${SESSIONHUB_CONFIG-}" ] && [ -z "${SESSIONHUB_DATA_DIR+set}" ]; then
	case " $* " in
	*" --valkey-url"* | *" --data-dir"* | *" --config"*) ;;
	*) export SESSIONHUB_DATA_DIR=/data ;;
	esac
fi
exec sessionhub "$@"

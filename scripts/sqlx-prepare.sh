#!/bin/sh
# Regenerates .sqlx, the checked queries' offline data, or with --check says whether it is current.
#
#   DATABASE_URL=postgres://… scripts/sqlx-prepare.sh [--check]
#
# DATABASE_URL names a server and a login that may create databases; a scratch database is made there and dropped. No
# sqlx-cli is needed: sqlx's macros write what they learn about a query into SQLX_OFFLINE_DIR when they see DATABASE_URL.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
: "${DATABASE_URL:?set DATABASE_URL to a Postgres server on which databases may be created}"

mode=write
case "${1:-}" in
  '') ;;
  --check) mode=check ;;
  *) echo "usage: $0 [--check]" >&2; exit 2 ;;
esac

scratch="portcullis_prepare_$$"
server=${DATABASE_URL%%\?*}
options=
[ "$server" = "$DATABASE_URL" ] || options="?${DATABASE_URL#*\?}"
scratch_url="${server%/*}/$scratch$options"
fresh=$(mktemp -d)
cleanup() {
  psql -q "$DATABASE_URL" -c "DROP DATABASE IF EXISTS $scratch WITH (FORCE)" >/dev/null 2>&1 || true
  rm -rf "$fresh"
}
trap cleanup EXIT INT TERM

psql -q -v ON_ERROR_STOP=1 "$DATABASE_URL" -c "CREATE DATABASE $scratch"
{
  cat migrations/roles.sql
  echo 'SET ROLE portcullis_owner;'
  cat migrations/[0-9]*.sql
} | psql -q -v ON_ERROR_STOP=1 "$scratch_url" >/dev/null

# The macros run when their crate is compiled, so it has to be compiled again.
touch control-plane/src/lib.rs
SQLX_OFFLINE=false SQLX_OFFLINE_DIR="$fresh" DATABASE_URL="$scratch_url" cargo check --quiet -p portcullis-control-plane --tests

if [ "$mode" = check ]; then
  if diff -rq .sqlx "$fresh" >/dev/null 2>&1; then
    echo ".sqlx is current"
  else
    echo ".sqlx is not current; run scripts/sqlx-prepare.sh and commit the result:" >&2
    diff -rq .sqlx "$fresh" >&2 || true
    exit 1
  fi
else
  mkdir -p .sqlx
  rm -f .sqlx/query-*.json
  cp "$fresh"/query-*.json .sqlx/
  echo ".sqlx holds $(ls .sqlx | wc -l) queries"
fi

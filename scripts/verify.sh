#!/usr/bin/env bash
# What must hold of the tree itself; no test is run here but the structure test.
set -euo pipefail
export SQLX_OFFLINE=true
step() { printf '\n== %s\n' "$*"; "$@"; }
step cargo fmt --all --check
step cargo deny --locked --log-level error check bans licenses sources
step cargo clippy --locked --workspace --all-targets -- -D warnings
step scripts/with-postgres.sh scripts/sqlx-prepare.sh --check
step cargo nextest run --locked --workspace -E 'binary(coverage_tree) | binary(coverage)'

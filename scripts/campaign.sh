#!/usr/bin/env bash
# A long form of a test that `make test` runs short: campaign.sh FILTER. What it is long in comes in the environment.
set -euo pipefail
scripts/setup.sh test
export SQLX_OFFLINE=true
cargo build --locked --workspace --bins
exec cargo nextest run --locked --workspace --profile long --no-capture -E "$1"

#!/usr/bin/env bash
# Everything CI runs, in the order that fails soonest.
set -euo pipefail
scripts/setup.sh test
scripts/verify.sh
export SQLX_OFFLINE=true
cargo nextest run --locked --workspace
scripts/conformance.sh

#!/usr/bin/env bash
# Everything CI runs, in the order that fails soonest.
set -euo pipefail
# The servers are this run's own, whatever is set for another purpose.
unset DATABASE_URL REDIS_URL
scripts/setup.sh test
scripts/verify.sh
export SQLX_OFFLINE=true
# nextest builds a program only for its own package's tests; tests/up and the suites below run it too.
cargo build --locked --workspace --bins
cargo nextest run --locked --workspace
# In the profile of the tests, so that next to nothing is compiled again.
export PROFILE=dev
scripts/cost.sh
scripts/conformance.sh
scripts/peers.sh test
scripts/schemathesis.sh short

#!/usr/bin/env bash
# Instructions and allocations of a proxy for one call, against tests/bench/cost.json; see tests/bench/cost.mjs.
#   cost.sh [--accept]   PROFILE: cargo profile (dev, in which the accepted figures are)
set -euo pipefail
cd "$(dirname "$0")/.."
export PROFILE=${PROFILE:-dev}
scripts/build-for-tests.sh portcullis portcullis-bench-tools
mkdir -p target/bench
# One run at a time: it has fixed ports and a fixed folder.
exec flock -o target/bench/.cost.lock node tests/bench/cost.mjs --profile "$PROFILE" "$@"

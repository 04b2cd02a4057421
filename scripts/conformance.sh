#!/usr/bin/env bash
# The MCP conformance suite, directly and through the gateway. PROFILE: cargo profile of both (up). Arguments: see
# tests/conformance/run.mjs.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/peers.sh install
scripts/build-for-tests.sh portcullis portcullis-conformance-upstream
# One run at a time: it has fixed ports and a fixed folder for what it writes.
exec flock -o target/conformance.lock target/peers/node tests/conformance/run.mjs --profile "${PROFILE:-up}" "$@"

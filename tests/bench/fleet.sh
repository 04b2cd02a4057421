#!/usr/bin/env bash
# A fleet of stubs against real control planes; results in target/bench/fleet.json. Arguments: those of bench-fleet, for one run;
# without any, the three that are kept in RESULTS.md. PORTCULLIS_BIN_DIR names a directory with release binaries; without it they
# are built.
set -euo pipefail
cd "$(dirname "$0")/../.."
dir=${PORTCULLIS_BIN_DIR:-target/release}
[ -n "${PORTCULLIS_BIN_DIR:-}" ] || cargo build --locked --release -p portcullis -p portcullis-bench-tools
mkdir -p target/bench
# A connection and its other end for each stub, and what else there is.
ulimit -n "$(ulimit -Hn)"
fleet() { PORTCULLIS_BIN=$dir/portcullis "$dir/bench-fleet" "$@" | tee -a target/bench/fleet.new; }
rm -f target/bench/fleet.new
if [ $# -gt 0 ]; then
    fleet "$@"
else
    fleet --controls 1
    fleet --controls 2
    fleet --proxies 100 --pools 1 --tenants 10000
fi
mv target/bench/fleet.new target/bench/fleet.json
echo target/bench/fleet.json >&2

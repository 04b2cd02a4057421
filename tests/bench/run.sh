#!/usr/bin/env bash
# CPU per call against nginx, and latency added; see README.md. Arguments: see run.mjs.
set -euo pipefail
cd "$(dirname "$0")/../.."
for tool in nginx wrk taskset node; do
    PATH=$PATH:/usr/sbin command -v "$tool" >/dev/null || { echo "$tool is missing; scripts/setup.sh bench installs it" >&2; exit 1; }
done
cargo build --locked --release -p portcullis -p portcullis-bench-tools
PATH=$PATH:/usr/sbin exec node tests/bench/run.mjs "$@"

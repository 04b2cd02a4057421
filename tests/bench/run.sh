#!/usr/bin/env bash
# What a call costs against nginx, and what survival takes; see README.md. Arguments: see run.mjs.
# PORTCULLIS_BIN_DIR names a directory with release binaries; without it they are built.
set -euo pipefail
cd "$(dirname "$0")/../.."
for tool in nginx wrk taskset node; do
    PATH=$PATH:/usr/sbin command -v "$tool" >/dev/null || { echo "$tool is missing; scripts/setup.sh bench installs it" >&2; exit 1; }
done
[ -n "${PORTCULLIS_BIN_DIR:-}" ] || cargo build --locked --release -p portcullis -p portcullis-bench-tools
PATH=$PATH:/usr/sbin exec node tests/bench/run.mjs "$@"

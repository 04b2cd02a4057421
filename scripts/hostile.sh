#!/usr/bin/env bash
# Attacks on a real proxy, and what its TLS offers; see tests/hostile/README.md.
#   hostile.sh install   puts sslyze into target/hostile, from tests/hostile/requirements.txt
#   hostile.sh run …     PROFILE: cargo profile (up); arguments: see tests/hostile/run.mjs
set -euo pipefail
cd "$(dirname "$0")/.."
root=target/hostile
here=tests/hostile

case "${1:-install}" in
install) scripts/venv.sh hostile ;;
run)
    scripts/venv.sh hostile
    scripts/build-for-tests.sh portcullis portcullis-bench-tools
    # One run at a time: it has fixed ports and a fixed folder.
    exec flock -o "$root/.run.lock" node "$here/run.mjs" --profile "${PROFILE:-up}" "${@:2}"
    ;;
*)
    echo "usage: hostile.sh install|run" >&2
    exit 2
    ;;
esac

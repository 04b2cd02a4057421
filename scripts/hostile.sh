#!/usr/bin/env bash
# Attacks on a real proxy, and what its TLS offers; see tests/hostile/README.md.
#   hostile.sh install   puts sslyze into target/hostile, from tests/hostile/requirements.txt
#   hostile.sh run …     PROFILE: cargo profile (up); arguments: see tests/hostile/run.mjs
set -euo pipefail
cd "$(dirname "$0")/.."
root=target/hostile
here=tests/hostile

install() {
    local want
    want=$(sha256sum <"$here/requirements.txt")
    if [ -f "$root/installed" ] && [ "$(cat "$root/installed")" = "$want" ]; then return 0; fi
    rm -rf "$root/venv" "$root/installed"
    echo "Installing sslyze into $root …"
    python3 -m venv "$root/venv"
    "$root/venv/bin/pip" install --quiet --disable-pip-version-check --no-input -r "$here/requirements.txt"
    echo "$want" >"$root/installed"
}

case "${1:-install}" in
install)
    mkdir -p "$root"
    (flock 9 && install) 9>"$root/.lock"
    ;;
run)
    "$0" install
    scripts/build-for-tests.sh portcullis portcullis-bench-tools
    # One run at a time: it has fixed ports and a fixed folder.
    exec flock -o "$root/.run.lock" node "$here/run.mjs" --profile "${PROFILE:-up}" "${@:2}"
    ;;
*)
    echo "usage: hostile.sh install|run" >&2
    exit 2
    ;;
esac

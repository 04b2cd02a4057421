#!/usr/bin/env bash
# Puts the Python tools that tests/NAME/requirements.txt pins into target/NAME/venv, unless they are there: venv.sh NAME
set -euo pipefail
cd "$(dirname "$0")/.."
root=target/$1
requirements=tests/$1/requirements.txt

install() {
    local want
    want=$(sha256sum <"$requirements")
    if [ -f "$root/installed" ] && [ "$(cat "$root/installed")" = "$want" ]; then return 0; fi
    rm -rf "$root/venv" "$root/installed"
    echo "Installing what $requirements names into $root …"
    python3 -m venv "$root/venv"
    "$root/venv/bin/pip" install --quiet --disable-pip-version-check --no-input -r "$requirements"
    echo "$want" >"$root/installed"
}

mkdir -p "$root"
(flock 9 && install) 9>"$root/.lock"

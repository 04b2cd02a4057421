#!/usr/bin/env bash
# The MCP peers that tests run against the gateway.
#   peers.sh install   puts them into target/peers, from the lock files in tests/peers; nothing to do when they are there
#   peers.sh test      runs official SDK clients through the gateway, and servers that only their gateway may call; PROFILE: cargo profile (up); see
#                      tests/peers/run.mjs and assertions.mjs
set -euo pipefail
cd "$(dirname "$0")/.."
root=target/peers
locks=tests/peers

install() {
    local want
    want=$(cat "$locks"/package-lock.json "$locks"/requirements.txt "$locks"/constraints.txt | sha256sum)
    if [ -f "$root/installed" ] && [ "$(cat "$root/installed")" = "$want" ]; then return 0; fi
    rm -rf "$root/npm" "$root/venv" "$root/installed"
    echo "Installing MCP peers into $root …"
    mkdir -p "$root/npm"
    cp "$locks"/package.json "$locks"/package-lock.json "$locks"/.npmrc "$root/npm/"
    (cd "$root/npm" && npm ci --no-audit --no-fund --loglevel=error)
    # The suite needs a Node.js newer than distributions have; it comes as a package too.
    ln -sfn npm/node_modules/node-linux-"$(node -p process.arch)"/bin/node "$root/node"
    "$root/node" --version >/dev/null
    python3 -m venv "$root/venv"
    "$root/venv/bin/pip" install --quiet --disable-pip-version-check --no-input -r "$locks/requirements.txt"
    echo "$want" > "$root/installed"
}

case "${1:-install}" in
    install)
        mkdir -p "$root"
        # One at a time; the lock is not handed on to what a caller starts next.
        (flock 9 && install) 9>"$root/.lock"
        ;;
    test)
        scripts/peers.sh install
        scripts/build-for-tests.sh portcullis portcullis-conformance-upstream portcullis-rmcp-peer
        # One run at a time: it has fixed ports and a fixed folder for what it writes.
        flock -o "$root/.run.lock" "$root/node" tests/peers/run.mjs --profile "${PROFILE:-up}" "${@:2}"
        if [ $# -eq 1 ]; then
            exec flock -o "$root/.run.lock" "$root/node" tests/peers/assertions.mjs --profile "${PROFILE:-up}"
        fi
        ;;
    *) echo "usage: peers.sh install|test" >&2; exit 2 ;;
esac

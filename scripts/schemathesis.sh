#!/usr/bin/env bash
# schemathesis against a running control plane: every check, a fixed seed. What it finds is a failure.
#   schemathesis.sh install       puts it into target/schemathesis, from tests/schemathesis/requirements.txt
#   schemathesis.sh short|long    PROFILE: cargo profile (up); SEED (1)
set -euo pipefail
cd "$(dirname "$0")/.."
root=target/schemathesis
here=tests/schemathesis

case "${1:-install}" in
install) exec scripts/venv.sh schemathesis ;;
short) options=(--phases "examples,coverage,fuzzing" -n 10 --no-shrink) ;;
long) options=(--phases "examples,coverage,fuzzing,stateful" -n 200) ;;
*)
    echo "usage: schemathesis.sh install|short|long" >&2
    exit 2
    ;;
esac

scripts/venv.sh schemathesis
scripts/build-for-tests.sh portcullis
# One run at a time: it has fixed ports and a fixed folder.
exec 9>"$root/.run.lock"
flock 9
profile=${PROFILE:-up}
binary=target/${profile/#dev/debug}/portcullis
run=$PWD/$root/run
# Nobody else's DNS is asked.
exec 8< <(exec python3 "$here/dns.py" 9>&-)
dns=$!
trap 'kill "$dns"' EXIT
read -r port <&8
"$binary" up --no-demo --detach --fresh --dir "$run" --port-base 7500 --dns-server "127.0.0.1:$port" 8<&- 9>&-
trap '"$PWD/$binary" down --dir "$run" >/dev/null; kill "$dns"' EXIT
url=$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["control_url"])' "$run/up.json")
TOKEN=$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["operator_token"])' "$run/up.json")
export TOKEN
# The tenant that tests/schemathesis/schemathesis.toml names.
printf 'header = "Authorization: Bearer %s"\n' "$TOKEN" | curl --silent --show-error --fail --output "$root/tenant.json" \
    --config - --json '{"slug": "schemathesis", "name": "Schemathesis"}' "$url/v1/tenants"
# A watch does not end, so it cannot be looked at in this way; tests/api/watches.rs does.
# Where it keeps what failed, to try that again; a run with a fixed seed is to depend on nothing of another.
rm -rf "$root/work"
mkdir -p "$root/work"
config=$PWD/$here/schemathesis.toml st=$PWD/$root/venv/bin/st
(cd "$root/work" && "$st" --config-file "$config" run "$url/v1/openapi.json" \
    --checks all --seed "${SEED:-1}" --exclude-path-regex '/watch$' "${options[@]}")

#!/usr/bin/env bash
# Fuzzes every parser of outside bytes: fuzz.sh [target…], all by default, FUZZ_SECONDS seconds each (60).
# Needs a nightly Rust, for the sanitizer and for coverage.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"
seconds=${FUZZ_SECONDS:-60}
version=0.13.2
cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked --version "$version"
if ! rustup toolchain list | grep -q '^nightly'; then rustup toolchain install nightly --profile minimal; fi

targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cargo +nightly fuzz list)
cargo +nightly fuzz build
failed=()
for target in "${targets[@]}"; do
    mkdir -p "corpus/$target"
    seeds=()
    [ ! -d "seeds/$target" ] || seeds=("seeds/$target")
    printf '\n== %s, %s s\n' "$target" "$seconds"
    cargo +nightly fuzz run "$target" "corpus/$target" "${seeds[@]}" -- \
        -max_total_time="$seconds" -max_len=8192 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        || failed+=("$target")
done
[ ${#failed[@]} -eq 0 ] || { echo "Failed: ${failed[*]}. The input is in fuzz/artifacts; see fuzz/README.md." >&2; exit 1; }

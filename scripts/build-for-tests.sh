#!/usr/bin/env bash
# Builds the named packages in PROFILE (up).
set -euo pipefail
profile=${PROFILE:-up}
if [ "$profile" = dev ]; then
    # The whole workspace: what `cargo nextest run --workspace` has built is used as it is, features and all.
    exec cargo build --locked --workspace --bins
fi
exec cargo build --locked --profile "$profile" "${@/#/--package=}"

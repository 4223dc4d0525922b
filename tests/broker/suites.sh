#!/usr/bin/env bash
# suites -- runs suites against a stage whose pool is behind a broker, one after the other.
#
#   suites.sh STAGE SUITE...
set -uo pipefail

stage=$1
shift
failed=()
for suite; do
    printf '== %s\n' "${suite##*/}"
    "$suite" "$stage" --pool broker || failed+=("${suite##*/}")
done
if ((${#failed[@]} > 0)); then
    printf 'failed: %s\n' "${failed[*]}"
    exit 1
fi

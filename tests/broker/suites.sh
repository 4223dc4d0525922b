#!/usr/bin/env bash
# suites -- runs suites against a stage whose pool is behind a broker, one after the other. Ends at the first that fails:
# without a worker that works, the others take minutes. Last comes a command that also needs the broker.
#
#   suites.sh STAGE 'SUITE [--dt-OPTION]'... [-- COMMAND...]
set -euo pipefail

stage=$1
shift
while (($# > 0)) && [[ $1 != -- ]]; do
    suite=$1
    shift
    program=${suite%% --dt-*}
    options=()
    if [[ $suite != "$program" ]]; then
        options=("${suite:${#program}+1}")
    fi
    printf '== %s\n' "${suite##*/}"
    if ! "$program" "$stage" --pool broker "${options[@]}"; then
        printf 'failed: %s\n' "${suite##*/}"
        exit 1
    fi
done
if [[ ${1:-} == -- ]]; then
    shift
    "$@"
fi

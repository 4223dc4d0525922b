#!/usr/bin/env bash
# hardening.sh PROGRAM... -- whether programs have the protections that CMakeLists.txt builds them with.
set -euo pipefail

status=0

# has PROGRAM WHAT PATTERN READELF-OPTION...
has() {
    local program=$1 what=$2 pattern=$3 seen
    shift 3
    seen=$(readelf --wide "$@" "$program")
    if ! grep -Eq "$pattern" <<<"$seen"; then
        printf '%s lacks %s\n' "${program##*/}" "$what"
        status=1
    fi
}

for program; do
    has "$program" 'a load address that differs in each run (PIE)' 'Flags:.* PIE' --dynamic
    has "$program" 'relocations that are read-only once done (RELRO)' 'GNU_RELRO' --program-headers
    has "$program" 'relocations that are all done at the start (NOW)' 'Flags:.* NOW' --dynamic
    has "$program" 'a stack that is no code (NX)' 'GNU_STACK.* RW +0x' --program-headers
    has "$program" 'stacks that notice an overrun (-fstack-protector-strong)' '__stack_chk_fail' --dyn-syms
    # The launcher of 06c calls no function that has such a form, and GCC 14 needs none in nc.
    [[ ${program##*/} =~ ^(06c_monkey_patch|nc)$ ]] ||
        has "$program" 'library functions that notice one (_FORTIFY_SOURCE)' '__[a-z]+_chk@' --dyn-syms
done
printf '%d programs checked\n' $#
exit "$status"

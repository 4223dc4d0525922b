# lib.sh -- what the scripts share. They source it; it is not run.
# shellcheck shell=bash

# shellcheck disable=SC2034  # what is set here is used by the scripts that source this file
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
program=${0##*/}
tab=$'\t'

# The packages to configure and build, tests included: configuring checks all of them.
build_packages=(
    g++ cmake ninja-build libasio-dev libcli11-dev libfmt-dev nlohmann-json3-dev libjs-chart.js doctest-dev
)
# The clients of others, which the tests run against every stage. A browser for our pages, and its driver. tmux for the
# panes of scripts/live. Python for a server of the talk's and for the programs beside the primers.
test_packages=(tmux netcat-openbsd netcat-traditional telnet socat python3-selenium)
test_packages+=(chromium-headless-shell chromium-driver)
test_packages+=(python3 python3-greenlet python3-gevent)
# Optional for CMake, which leaves out what needs them: Boost.Context is for greenlets, cpp-httplib for the board, libqrencode for
# the QR code of its room.
optional_packages=(libboost-context-dev liburing-dev libcpp-httplib-dev libqrencode-dev pkg-config)
test_packages+=("${optional_packages[@]}")
# The pages run strace, ss and pgrep; Graphviz draws their diagrams.
docs_packages=(python3 git strace iproute2 procps graphviz)
# The queue between a server and workers on other machines, and its client library. Optional for CMake.
broker_packages=(rabbitmq-server librabbitmq-dev)
# These find words and definitions in the sources, for the annotated reading.
annotate_packages=(python3 python3-pygments universal-ctags git g++)
test_packages+=("${docs_packages[@]}" "${annotate_packages[@]}" "${broker_packages[@]}")
# For the sanitizer presets. llvm has the program that finds the lines for their reports.
clang_packages=(clang libclang-rt-dev llvm)

if [[ -t 1 ]]; then
    bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'
    width=$(tput cols 2>/dev/null || printf 80)
else
    bold='' dim='' red='' green='' plain=''
    width=80
fi

die() {
    printf '%s: %s\n' "$program" "$*" >&2
    exit 1
}

# The comment at the head of the script is its help.
usage() { sed -n '2,/^# shellcheck/{/^# shellcheck/d;s/^# \{0,1\}//p}' "$0"; }

step() { printf '%s==> %s%s\n' "$bold" "$*" "$plain"; }

# For sh, as root: runs a command that installs packages. It keeps these from starting a service, now or at the next
# boot, because we only want RabbitMQ's program. Debian asks policy-rc.d before it starts a service. If there is one
# already it is left alone. Ours is removed when the shell ends, and refuses only as long as the shell lives. Services
# that were there before stay.
# shellcheck disable=SC2016 # nothing in it is for this shell
without_services='
policy=/usr/sbin/policy-rc.d
units=/lib/systemd/system
if [ ! -e $policy ]; then
    trap "rm -f $policy" EXIT
    trap "exit 1" INT TERM HUP
    printf "#!/bin/sh\nkill -0 %d 2>/dev/null && exit 101\nexit 0\n" $$ >$policy
    chmod 755 $policy
fi
new=
for unit in rabbitmq-server.service epmd.service epmd.socket; do
    [ -e $units/$unit ] || new="$new $unit"
done
status=0
"$@" || status=$?
for unit in $new; do
    [ ! -e $units/$unit ] || ! command -v systemctl >/dev/null || systemctl disable $unit
done
case $new in *rabbitmq-server*)
    [ ! -e /etc/init.d/rabbitmq-server ] || update-rc.d rabbitmq-server disable
esac
exit $status
'

# need_packages PACKAGE...: installs those of these Debian packages that are missing, or says what is missing and ends.
# (If GROUND_BUILT says that everything is built, they are there: see build.)
need_packages() {
    if [[ -n ${GROUND_BUILT:-} ]]; then
        return
    fi
    if ! command -v dpkg-query >/dev/null; then
        # Not Debian. CMake then names what it cannot find.
        return
    fi
    local missing=() package
    for package; do
        if [[ " ${missing[*]} " != *" $package "* &&
            $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) != installed ]]; then
            missing+=("$package")
        fi
    done
    if ((${#missing[@]} == 0)); then
        return
    fi
    local as_root=()
    if ((EUID != 0)); then
        # sudo may ask for a password if there is a user at a terminal.
        if command -v sudo >/dev/null && { [[ -t 0 ]] || sudo -n true 2>/dev/null; }; then
            as_root=(sudo)
        else
            die "packages are missing; as root, run: apt-get install ${missing[*]}"
        fi
    fi
    step "Installing: ${missing[*]}"
    as_root+=(env DEBIAN_FRONTEND=noninteractive)
    # A new machine may still be busy with its own first update: wait for the lock.
    local apt=(apt-get -q -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
    show_apt "${as_root[@]}" "${apt[@]}" update || die "apt-get update failed (see above); is this machine online?"
    show_apt "${as_root[@]}" sh -c "$without_services" sh \
        "${apt[@]}" install --yes --no-install-recommends "${missing[@]}" ||
        die "apt-get could not install all of: ${missing[*]} (see above)"
}

# show_apt COMMAND...: runs it and condenses its output. On a terminal that is one line that is overwritten, elsewhere a
# dot for every ten lines. If it fails, all of the output is shown.
show_apt() {
    local log line count=0 status=0
    log=$(mktemp)
    "$@" </dev/null 2>&1 | tee "$log" | while IFS= read -r line; do
        if [[ -t 1 ]]; then
            printf '\r\e[K%s%s%s' "$dim" "${line:0:$((width - 1))}" "$plain"
        elif ((++count % 10 == 0)); then
            printf .
        fi
    done || status=$?
    if [[ -t 1 ]]; then
        printf '\r\e[K'
    else
        printf '\n'
    fi
    if ((status != 0)); then
        cat "$log" >&2
    fi
    rm -f "$log"
    return "$status"
}

# build PRESET [TARGET...]: configures and builds, everything if no target is named. When a test runs a script,
# everything is built already.
build() {
    local preset=$1 log
    shift
    cd "$root"
    if [[ -n ${GROUND_BUILT:-} ]]; then
        return
    fi
    step "Configuring (preset $preset)"
    log=$(mktemp)
    if ! cmake --preset "$preset" ${GROUND_WERROR:+-D GROUND_WERROR="$GROUND_WERROR"} >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        die "CMake could not configure (see above); removing build/$preset helps if it is stale"
    fi
    rm -f "$log"
    step "Building into build/$preset"
    if (($# > 0)); then
        # Without the stages for which CMake has missed something (it has said so).
        local target targets=()
        for target; do
            if [[ $target != [0-9]* ]] || grep -q "^$target$tab" "build/$preset/stages/stages.tsv"; then
                targets+=("$target")
            fi
        done
        set -- --target "${targets[@]}"
    fi
    cmake --build "build/$preset" --parallel "$(nproc)" "$@" ||
        die "the build failed (see above)"
}

# stage_names [GROUP|STAGE...]: as scripts/stages --names.
stage_names() { "$root/scripts/stages" --names "$@"; }

# find_stage NAME: the stage that a name or the beginning of one means. 02 is 02_threads, not
# 02b_threads_gil.
find_stage() {
    local name=${1##*/} all stage pattern found
    name=${name%.cpp}
    mapfile -t all < <(stage_names all)
    for pattern in "$name" "${name}_*" "0${name}_*" "$name*"; do
        found=()
        for stage in "${all[@]}"; do
            # shellcheck disable=SC2053 # it is a pattern
            [[ $stage != $pattern ]] || found+=("$stage")
        done
        if ((${#found[@]} == 1)); then
            printf '%s\n' "${found[0]}"
            return
        fi
    done
    die "no single stage is called '$1'; choose one of: ${all[*]}"
}

# stage_fact NAME FACT: a fact that scripts/stages knows: model, since, traits or source.
stage_fact() {
    local facts
    IFS=$'\t' read -ra facts < <("$root/scripts/stages" --tsv "$1")
    case $2 in
    model) printf '%s\n' "${facts[2]}" ;;
    since) printf '%s\n' "${facts[3]}" ;;
    traits) printf '%s\n' "${facts[4]}" ;;
    source) printf '%s\n' "${facts[5]}" ;;
    esac
}

# servers_among NAME...: those that are servers, and that were built if they are optional.
servers_among() {
    local name
    for name; do
        if [[ $(stage_fact "$name" model) != 'no server' && -x $root/build/${preset:-release}/stages/$name ]]; then
            printf '%s\n' "$name"
        fi
    done
}

# ways_to_run NAME: a line of options for each way: its pools, or an empty line.
ways_to_run() {
    case ,$(stage_fact "$1" traits), in
    *,pool,*) printf -- '--pool %s\n' processes threads inline ;;
    *) printf '\n' ;;
    esac
}

# If it can choose, the kernel puts a client and its server onto one CPU or onto two, and that alone changes the rate
# tenfold. So the clients get the last CPU, and the server all others. With two CPUs the server has one. A pool's
# workers inherit its affinity and share that CPU. A big request then takes its fair share of it, as on any busy
# machine, and the stages differ in what they do with the rest. (Workers on the clients' CPU would slow down the
# clients, and the figures would blame the server.)
#
# Sets on_server and on_client, the beginnings of their commands, and placement, the same in words.
place_server_and_clients() {
    local cpus=() ranges range server_cpus client_cpu
    IFS=, read -ra ranges < <(taskset -cp $$ | sed 's/.*: //')
    for range in "${ranges[@]}"; do
        mapfile -t -O ${#cpus[@]} cpus < <(seq "${range%-*}" "${range#*-}")
    done
    if ((${#cpus[@]} > 1)); then
        client_cpu=${cpus[-1]}
        server_cpus=$(IFS=, && printf '%s' "${cpus[*]::${#cpus[@]}-1}")
        on_server=(taskset -c "$server_cpus")
        on_client=(taskset -c "$client_cpu")
        placement="server on CPU $server_cpus, clients on CPU $client_cpu"
    else
        on_server=()
        on_client=()
        placement='server and clients share the only CPU'
    fi
}

#!/usr/bin/env bash
# A private Docker in Swarm mode for the tests, on a machine that has none to give: its own daemon, data,
# network namespace and cgroup. It does not touch a Docker of the machine and needs no network.
#
#   docker.sh start          installs what is missing, starts it; says so when it runs already
#   docker.sh env            prints `export BRAMBLE_TEST_DOCKER=unix://...`, for eval, and BRAMBLE_TEST_NODES,
#                            where tests put their sets of nodes (nodes.sh)
#   docker.sh status         succeeds when it runs
#   docker.sh stop           ends it, and the sets of nodes that tests left, and removes all that they made
#   docker.sh run COMMAND    runs a command with these variables, and stops what it started; a Docker that
#                            BRAMBLE_TEST_DOCKER names already is used and left alone
#   docker.sh in COMMAND     runs a command in its network namespace, where container addresses work
#
# Its place is BRAMBLE_DOCKER_DIR, /var/lib/bramble-docker unless set, of at most 60 characters. In it are
# docker.sock and log. There is one overlay network, `functions`, 10.62.0.0/16, attachable.
set -euo pipefail
# shellcheck source=scripts/dockerd.sh
. "$(dirname "${BASH_SOURCE[0]}")/dockerd.sh"

nodes_sh=$(dirname "${BASH_SOURCE[0]}")/nodes.sh
dir=${BRAMBLE_DOCKER_DIR:-/var/lib/bramble-docker}
host=unix://$dir/docker.sock

start() {
    need_root
    need_short_path "$dir"
    # Two callers at once: the second finds the first one's daemon.
    exec 9<"${BASH_SOURCE[0]}"
    flock -w 120 9 || die "another start or stop does not end"
    if running; then
        say "runs already: $host"
        return
    fi
    install_docker
    mount_cgroups
    if [ -e "$dir" ]; then
        say "removing what an earlier one left"
        erase
    fi
    mkdir -p "$dir"
    make_namespace "$dir/net"
    choose_iptables "$dir/net"
    dockerd_start "$dir" nsenter --net="$dir/net" unshare --uts \
        sh -c 'echo bramble-test >/proc/sys/kernel/hostname && exec "$@"' sh
    # The loopback will do as the address of a single node.
    docker -H "$host" swarm init --advertise-addr 127.0.0.1 >/dev/null
    docker -H "$host" network create --driver overlay --attachable --subnet 10.62.0.0/16 functions >/dev/null
    say "runs: $host"
}

running() {
    dockerd_answers "$dir" && [ "$(docker -H "$host" info --format '{{.Swarm.LocalNodeState}}')" = active ] &&
        docker -H "$host" network inspect functions >/dev/null 2>&1
}

stop() {
    need_root
    exec 9<"${BASH_SOURCE[0]}"
    flock -w 120 9 || die "another start or stop does not end"
    erase
}

erase() {
    local set
    for set in "$dir"/nodes/*/; do
        [ ! -d "$set" ] || BRAMBLE_NODES_DIR=${set%/} "$nodes_sh" down
    done
    dockerd_erase "$dir"
}

# Ends what `run` started, however often Ctrl-C is pressed meanwhile.
clean_up() {
    trap '' INT TERM HUP
    stop
}

print_env() {
    printf 'export BRAMBLE_TEST_DOCKER=%s\nexport BRAMBLE_TEST_NODES=%s\n' "$host" "$dir/nodes"
}

# Without root the command runs all the same: what needs no Docker need not wait for it.
run() {
    if [ -n "${BRAMBLE_TEST_DOCKER:-}" ]; then
        "$@"
        return
    fi
    if [ "$(id -u)" != 0 ]; then
        say "the tests of containers need a Docker in Swarm mode. Run this as root to have one for as long" \
            "as it takes, or give one: BRAMBLE_TEST_DOCKER=unix:///var/run/docker.sock"
        "$@"
        return
    fi
    if ! running 2>/dev/null; then
        trap clean_up EXIT
        # A signal has to end the script, or the trap is not run.
        trap 'exit 130' INT TERM HUP
        (start)
    fi
    eval "$(print_env)"
    "$@"
}

verb=${1:-}
[ $# -eq 0 ] || shift
case $verb in
start | stop | run) "$verb" "$@" ;;
env) print_env ;;
status) running || die "does not run; scripts/docker.sh start starts it" ;;
in) in_namespace "$dir/net" "$@" ;;
*) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac

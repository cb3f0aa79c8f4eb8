#!/usr/bin/env bash
# A real Swarm of several nodes on one machine: each has a network, a host name, a /run, a cgroup and a
# dockerd of its own, and is joined to the others by a bridge. The machine's own network and Docker are
# not touched. Needs root.
#
#   nodes.sh up [N]             N nodes, 3 unless given: 1 is the manager, the others are workers
#   nodes.sh image NAME...      copies images to all nodes from the Docker of BRAMBLE_TEST_DOCKER or
#                               DOCKER_HOST; their ids are the same everywhere
#   nodes.sh docker I ...       the docker command on node I
#   nodes.sh in I COMMAND...    a command on node I, where Docker is at /var/run/docker.sock
#   nodes.sh host I             prints DOCKER_HOST for node I
#   nodes.sh kill I             as if its power were cut: no connection is closed, nothing ends in order
#   nodes.sh kill-daemon I      kill -9 of its dockerd; its containers go on
#   nodes.sh stop I             its dockerd ends in order, and its containers with it
#   nodes.sh start I            after any of these three
#   nodes.sh cut I | heal I     its cable
#   nodes.sh down               ends all and removes all that it made
#
# The place is BRAMBLE_NODES_DIR, /var/lib/bramble-nodes unless set, of at most 54 characters. Sets with
# places of their own do not see each other, and those in BRAMBLE_TEST_NODES end with docker.sh stop. Node I
# has the host name nodeI, the address 192.168.99.1I, and in nodeI/ there: docker.sock, log, net (its
# network namespace, for nsenter or setns) and init (a process in all its namespaces). There is one overlay
# network, `functions`, 10.62.0.0/16, attachable. A lost node is seen after 4 s: the heartbeat is 1 s, not 5.
set -euo pipefail
# shellcheck source=scripts/dockerd.sh
. "$(dirname "${BASH_SOURCE[0]}")/dockerd.sh"

dir=${BRAMBLE_NODES_DIR:-/var/lib/bramble-nodes}
subnet=192.168.99
most=8

up() {
    local count=${1:-3} node
    case $count in [1-8]) ;; *) die "not a number of nodes from 1 to $most: $count" ;; esac
    need_short_path "$dir/node1"
    if all_answer "$count"; then
        say "$count nodes run already in $dir"
        return
    fi
    install_docker
    mount_cgroups
    if [ -e "$dir" ]; then
        say "removing what an earlier set left"
        down
    fi
    mkdir -p "$dir"
    chmod 711 "$dir"
    make_namespace "$dir/hub"
    in_namespace "$dir/hub" sh -c "ip link add bridge type bridge && ip link set bridge up &&
        ip addr add $subnet.254/24 dev bridge"
    # A part of a set is worth nothing, and would be in the way of the next.
    trap 'down' EXIT
    for node in $(seq "$count"); do mkdir "$dir/node$node"; done
    each start
    make_swarm
    trap - EXIT
    say "$count nodes run in $dir"
}

all_answer() {
    local node
    [ "$(nodes | wc -l)" = "$1" ] || return 1
    for node in $(nodes); do dockerd_answers "$dir/node$node" || return 1; done
}

make_swarm() {
    # Workers join in parallel, and find the token here.
    on 1 swarm init --advertise-addr "$(address 1)" --dispatcher-heartbeat 1s >/dev/null
    token=$(on 1 swarm join-token --quiet worker)
    each join
    on 1 network create --driver overlay --attachable --subnet 10.62.0.0/16 functions >/dev/null
}

join() {
    [ "$1" = 1 ] ||
        on "$1" swarm join --advertise-addr "$(address "$1")" --token "$token" "$(address 1):2377" >/dev/null
}

nodes() { for node in "$dir"/node[1-8]; do [ ! -d "$node" ] || echo "${node##*/node}"; done; }
address() { echo "$subnet.1$1"; }
host() { echo "unix://$dir/node$1/docker.sock"; }
on() { local node=$1; shift; docker -H "$(host "$node")" "$@"; }

# each COMMAND [ARGUMENT...]: for all nodes at once, the node as the last argument; fails if one fails.
each() {
    local node pids=() pid
    for node in $(nodes); do
        "$@" "$node" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || return 1; done
}

start() {
    local at=$dir/node$1
    dockerd_pid "$at" >/dev/null && { say "node $1 runs already"; return; }
    if [ ! -e "$at/net" ]; then
        make_namespace "$at/net"
        connect "$1"
        choose_iptables "$at/net"
        hold "$1"
    fi
    # The second socket is where everybody looks for it; it is in the node's /run.
    dockerd_start "$at" nsenter --target "$(cat "$at/init")" --net --mount --uts \
        sh -c 'exec "$@" -H unix:///run/docker.sock' sh
}

# hold NODE: a process that keeps the node's namespaces while its daemon is away. It has the daemon's
# folder on its command line, and so ends when the node's power is cut.
hold() {
    local at=$dir/node$1
    setsid nsenter --net="$at/net" unshare --mount --uts bash -c 'mount -t tmpfs tmpfs /run &&
        echo "$0" >/proc/sys/kernel/hostname && exec -a "$0 of $1/exec/" sleep infinity' "node$1" "$at" \
        >>"$at/log" 2>&1 </dev/null &
    echo $! >"$at/init"
    await 10 grep -qsF "node$1 of" "/proc/$!/cmdline" || die "node $1 has no namespaces; see $at/log"
}

# enter NODE COMMAND...: in all the node's namespaces, in the folder of the caller.
enter() {
    local init
    init=$(cat "$dir/node$1/init" 2>/dev/null) || die "node $1 has no power; nodes.sh start $1"
    shift
    exec nsenter --target "$init" --net --mount --uts --wd="$PWD" "$@"
}

connect() {
    local node=$1
    in_namespace "$dir/hub" ip link add "node$node" type veth peer name eth0 netns "$dir/node$node/net"
    in_namespace "$dir/hub" ip link set "node$node" master bridge up
    in_namespace "$dir/node$node/net" sh -c "ip addr add $(address "$node")/24 dev eth0 &&
        ip link set eth0 up && ip route add default via $subnet.254"
}

# The cable goes first, so that no connection is closed; and then out of the hub, with the node's end.
cut_power() {
    cable "$1" down
    dockerd_cut_power "$dir/node$1"
    rm -f "$dir/node$1/init"
    in_namespace "$dir/hub" ip link del "node$1" 2>/dev/null || true
}

stop() {
    local pid
    pid=$(dockerd_pid "$dir/node$1") || die "node $1 does not run"
    kill "$pid"
    await 60 gone "$pid" || die "dockerd of node $1 does not end"
    rm -f "$dir/node$1/pid"
}

cable() { in_namespace "$dir/hub" ip link set "node$1" "$2"; }

# Images are made in one place: made on each node they would have an id on each.
image() {
    local from=${BRAMBLE_TEST_DOCKER:-${DOCKER_HOST:-unix:///var/run/docker.sock}}
    docker -H "$from" save --output "$dir/images.tar" "$@"
    each load_images
    rm -f "$dir/images.tar"
}

load_images() { on "$1" load --quiet --input "$dir/images.tar" >/dev/null; }
erase() { dockerd_erase "$dir/node$1"; }

down() {
    each erase
    umount -l "$dir/hub" 2>/dev/null || true
    rm -rf "$dir"
}

node() {
    case ${1:-} in
    [1-8]) [ -d "$dir/node$1" ] || die "there is no node $1 in $dir; nodes.sh up [N] makes some" ;;
    *) die "not a node: '${1:-}'" ;;
    esac
}

usage() { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2; exit 2; }

main() {
    local verb=${1:-}
    [ $# -gt 0 ] || usage
    shift
    case $verb in
    up | down | image) need_root; "$verb" "$@"; return ;;
    host | docker | in | kill | kill-daemon | stop | start | cut | heal) need_root; node "${1:-}" ;;
    *) usage ;;
    esac
    local node=$1
    shift
    case $verb in
    host) host "$node" ;;
    docker) on "$node" "$@" ;;
    in) enter "$node" "$@" ;;
    kill) cut_power "$node" ;;
    kill-daemon) dockerd_kill "$dir/node$node" ;;
    stop | start) "$verb" "$node" ;;
    cut) cable "$node" down ;;
    heal) cable "$node" up ;;
    esac
}

main "$@"

# Sourced by docker.sh and nodes.sh: starts and ends one private dockerd that shares nothing with a
# Docker of the machine.
#
# A daemon is known by its directory DIR, and all that it makes can be found from it, so that nothing
# stays even after `kill -9` or a reboot:
#   DIR/docker.sock DIR/log DIR/data DIR/exec    its socket, log, images, and run-time state
#   DIR/net                                      its network namespace, made by the caller
#   /brambleCHECKSUM below /sys/fs/cgroup        the cgroup of every container

say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2; }
die() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# The cgroup of the daemon of DIR.
cgroup_of() { printf 'bramble%s' "$(printf '%s' "$1" | cksum | cut -d' ' -f1)"; }

# Daemons, namespaces and mounts need root. The caller says how to go on without.
need_root() {
    [ "$(id -u)" = 0 ] || die "a private dockerd needs root: run this as root, or give a Docker in Swarm" \
        "mode of your own as BRAMBLE_TEST_DOCKER=unix:///path/to/docker.sock"
}

# Docker makes sockets at up to 40 characters below DIR, and the kernel takes 107.
need_short_path() {
    case $1 in /*) ;; *) die "not an absolute path: $1" ;; esac
    [ ${#1} -le 60 ] || die "too long for Unix sockets, 60 characters are the most: $1"
}

install_docker() {
    local missing=()
    have dockerd || missing+=(docker.io)
    have iptables || missing+=(iptables)
    have ps || missing+=(procps) # what `docker top` calls
    have ip || missing+=(iproute2)
    have nsenter && have unshare && have flock || missing+=(util-linux)
    if [ ${#missing[@]} -gt 0 ]; then
        apt_install "${missing[@]}"
    fi
    # Newer releases of Debian have the client in a package of its own.
    have docker || apt_install docker-cli
}

apt_install() {
    have apt-get || die "please install with your system's package manager: $*"
    say "installing $*"
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends "$@" >/dev/null
}

# A bare machine or container may have no cgroups mounted. Version 2 where all controllers are free
# for it, else version 1: what Docker needs, and what is in use already. A hierarchy that is in use but
# mounted nowhere makes `docker stats` of every daemon read zeros.
mount_cgroups() {
    local controller at options
    grep -q ' /sys/fs/cgroup' /proc/self/mountinfo && return
    say "mounting cgroups"
    if ! awk '!/^#/ && $2 != 0 { used = 1 } END { exit !used }' /proc/cgroups; then
        mount -t cgroup2 none /sys/fs/cgroup
        return
    fi
    mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
    for controller in $({ printf '%s\n' cpu cpuacct cpuset memory devices freezer blkio pids
        awk -F: '$2 != "" { print $2 }' /proc/self/cgroup; } | sort -u); do
        at=/sys/fs/cgroup/${controller#name=}
        options=$controller
        case $controller in name=*) options=none,$controller ;; esac
        mkdir -p "$at"
        mount -t cgroup -o "$options" cgroup "$at" 2>/dev/null || rmdir "$at"
    done
}

# in_namespace FILE COMMAND...: `ip netns exec` would mount a /sys without cgroups.
in_namespace() {
    local file=$1
    shift
    nsenter --net="$file" "$@"
}

make_namespace() {
    : >"$1"
    unshare --net="$1" true
    in_namespace "$1" sh -c 'ip link set lo up && echo 1 >/proc/sys/net/ipv4/ip_forward'
}

# Where nft is not in the kernel, Debian's other iptables is.
choose_iptables() {
    in_namespace "$1" iptables -t nat -L -n >/dev/null 2>&1 && return
    update-alternatives --set iptables /usr/sbin/iptables-legacy >/dev/null 2>&1 &&
        in_namespace "$1" iptables -t nat -L -n >/dev/null 2>&1 ||
        die "iptables cannot list its nat table, which Docker needs: is the kernel without it?"
}

# The daemon of DIR, if it runs. A pid alone is not enough: it may be another program's by now.
dockerd_pid() {
    local pid
    pid=$(cat "$1/pid" 2>/dev/null) || return 1
    tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qxF -- "$1/data" && echo "$pid"
}

dockerd_answers() {
    dockerd_pid "$1" >/dev/null && docker -H "unix://$1/docker.sock" version >/dev/null 2>&1
}

# dockerd_start DIR ENTER...: returns when the daemon answers, within 60 s. ENTER is a command that runs
# another one where the daemon should be.
dockerd_start() {
    local dir=$1 deadline=$((SECONDS + 60)) storage=()
    shift
    mkdir -p "$dir/data"
    chmod 711 "$dir"
    rm -f "$dir/pid" "$dir/docker.sock"
    # A configuration of its own, or the machine's would be read. Old versions also leave a key beside
    # that one, and new ones refuse the setting that moves it.
    echo '{}' >"$dir/daemon.json"
    if grep -qaF deprecated-key-path "$(command -v dockerd)"; then
        printf '{"deprecated-key-path": "%s/key.json"}\n' "$dir" >"$dir/daemon.json"
    fi
    # overlay2 cannot be on top of another overlay, as in a container.
    case $(stat -f -c %T "$dir") in overlayfs | fuse*) storage=(--storage-driver vfs) ;; esac
    setsid "$@" dockerd --config-file "$dir/daemon.json" --data-root "$dir/data" --exec-root "$dir/exec" \
        -H "unix://$dir/docker.sock" -p "$dir/pid" --cgroup-parent "/$(cgroup_of "$dir")" \
        --exec-opt native.cgroupdriver=cgroupfs "${storage[@]}" >>"$dir/log" 2>&1 </dev/null 9>&- &
    until dockerd_answers "$dir"; do
        if ! kill -0 $! 2>/dev/null || [ $SECONDS -ge $deadline ]; then
            tail -n 5 "$dir/log" >&2
            die "dockerd did not start; its log is $dir/log"
        fi
        sleep 0.1
    done
}

# dockerd_kill DIR: ends the daemon at once. Its containerd ends with it, its containers go on. The next
# daemon would take a containerd that nobody has asked how it ended for one that runs.
dockerd_kill() {
    local pid containerd=$1/exec/containerd/containerd.pid
    pid=$(dockerd_pid "$1") || return 0
    kill -9 "$pid" && await 10 gone "$pid" || die "dockerd $pid does not end"
    pid=$(cat "$containerd" 2>/dev/null) && { await 10 gone "$pid" || die "containerd $pid does not end"; }
    rm -f "$1/pid" "$containerd"
}

# dockerd_cut_power DIR: ends at once all that runs in the daemon's name, and the network namespace with
# it. What is on disk stays, as it would.
dockerd_cut_power() {
    local dir=$1 cgroup pid mount strays
    cgroup=$(cgroup_of "$dir")
    strays=$(strays_of "$dir")
    dockerd_kill "$dir"
    for pid in $(processes_below "$dir"); do kill -9 "$pid" 2>/dev/null || true; done
    thaw "$cgroup"
    for pid in $(cgroup_processes "$cgroup"); do kill -9 "$pid" 2>/dev/null || true; done
    await 10 no_processes "$dir" "$cgroup" || die "processes of $dir do not end"
    { awk -v dir="$dir/" 'index($2, dir) == 1 { print $2 }' /proc/self/mounts | sort -r; } |
        while read -r mount; do umount -l "$mount" 2>/dev/null || true; done
    find /sys/fs/cgroup -depth -type d \( -path "*/$cgroup" -o -path "*/$cgroup/*" \) \
        -exec rmdir {} \; 2>/dev/null || true
    # shellcheck disable=SC2086 # a list of paths without spaces
    rm -rf "$dir/exec" "$dir/net" $strays
    # Of all daemons of the machine; removed only when nothing is in them.
    rmdir /run/containerd/s /run/containerd /run/docker/plugins /run/docker \
        /var/lib/docker/network/files /var/lib/docker/network /var/lib/docker 2>/dev/null || true
}

# dockerd_erase DIR: ends whatever is left of a daemon and removes what it made. Nothing in it is worth
# a clean end, and so the same steps serve one that runs and one that was killed.
dockerd_erase() {
    dockerd_cut_power "$1"
    rm -rf "$1"
}

# What a daemon puts outside its directory whatever it is told: the sockets of its shims, and a folder
# for each overlay network's load balancer.
strays_of() {
    cat "$1"/exec/containerd/daemon/*/*/*/address 2>/dev/null | sed 's|unix://|\n|g; $s|$|\n|' || true
    grep -aoE 'lb_[a-z0-9]{25}' "$1/data/network/files/local-kv.db" 2>/dev/null | sort -u |
        sed 's|^|/var/lib/docker/network/files/|' || true
}

# containerd and its shims name the daemon's directory on their command lines. The search must not.
processes_below() {
    grep -lsF -f <(printf '%s\n' "$1/exec/") /proc/[0-9]*/cmdline | cut -d/ -f3 || true
}

# A paused container does not end by a signal. Version 1 of cgroups has freezer.state, 2 cgroup.freeze.
thaw() {
    local file
    find /sys/fs/cgroup -path "*/$1/*" \( -name freezer.state -o -name cgroup.freeze \) 2>/dev/null |
        while read -r file; do
            case $file in
            *freezer.state) echo THAWED >"$file" 2>/dev/null || true ;;
            *) echo 0 >"$file" 2>/dev/null || true ;;
            esac
        done
}

cgroup_processes() {
    find /sys/fs/cgroup -path "*/$1/*" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -un
}

no_processes() { [ -z "$(processes_below "$1")$(cgroup_processes "$2")" ]; }
# A process that its parent has not asked for yet is gone too.
gone() { ! grep -qs '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$1/status"; }

# await SECONDS COMMAND...: until the command succeeds, or false after that time.
await() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $deadline ] || return 1
        sleep 0.05
    done
}

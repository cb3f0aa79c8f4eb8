#!/bin/sh
# Builds ./function/main.zig into $BRAMBLE_OUTPUT with the zig in PATH, else the one that pip installs, or put into
# the cache.
set -eu

cached=${XDG_CACHE_HOME:-$HOME/.cache}/bramble/zig/ziglang/zig
if command -v zig >/dev/null; then
    set -- zig
elif [ -x "$cached" ]; then
    set -- "$cached"
elif python3 -c 'import ziglang' 2>/dev/null; then
    set -- python3 -m ziglang
else
    echo "zig is missing: pip install ziglang, or see https://ziglang.org/download"
    exit 69
fi
"$@" build-exe function/main.zig -target wasm32-wasi -O ReleaseSmall --cache-dir "$PWD/cache" "-femit-bin=$BRAMBLE_OUTPUT"

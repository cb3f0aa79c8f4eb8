#!/bin/sh
# Builds ./function/main.ts into $BRAMBLE_OUTPUT with the compiler in the function's own node_modules, or
# where BRAMBLE_NODE_MODULES says, or in the cache.
set -eu

cache=${XDG_CACHE_HOME:-$HOME/.cache}/bramble/npm
modules=
for folder in "${BRAMBLE_NODE_MODULES:-}" "${BRAMBLE_HANDLER:-function}/node_modules" "$cache/node_modules"; do
    if [ -n "$folder" ] && [ -d "$folder/assemblyscript" ] && [ -d "$folder/@assemblyscript/wasi-shim" ]; then
        modules=$(cd "$folder" && pwd)
        break
    fi
done
if ! command -v node >/dev/null; then
    echo "node is missing: see https://nodejs.org, or apt-get install nodejs npm"
    exit 69
fi
if [ -z "$modules" ]; then
    echo "the AssemblyScript compiler is missing: type"
    echo "  npm install --prefix $cache assemblyscript@0.28 @assemblyscript/wasi-shim@0.1"
    exit 69
fi
# The compiler looks for the shim's files beside what it compiles.
rm -f node_modules
ln -s "$modules" node_modules
node node_modules/assemblyscript/bin/asc.js function/main.ts \
    --config node_modules/@assemblyscript/wasi-shim/asconfig.json -O3s --runtime incremental -o "$BRAMBLE_OUTPUT"

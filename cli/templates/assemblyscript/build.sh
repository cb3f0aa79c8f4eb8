#!/bin/sh
# Builds ./function/main.ts into $BRAMBLE_OUTPUT with the AssemblyScript compiler.
set -eu

. tools/node.sh
find_packages assemblyscript@0.28 @assemblyscript/wasi-shim@0.1
# The compiler looks for the shim's files beside what it compiles.
rm -f node_modules
ln -s "$modules" node_modules
node node_modules/assemblyscript/bin/asc.js function/main.ts \
    --config node_modules/@assemblyscript/wasi-shim/asconfig.json -O3s --runtime incremental -o "$BRAMBLE_OUTPUT"

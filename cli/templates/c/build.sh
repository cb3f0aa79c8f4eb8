#!/bin/sh
# Builds every .c file of ./function into $BRAMBLE_OUTPUT with a clang that has a libc for WASI: $CC when
# it is set, else the newest that is found.
set -eu

probe=$PWD/probe.wasm
compiler=
for clang in ${CC:-} clang-21 clang-20 clang-19 clang; do
    if command -v "$clang" >/dev/null && echo 'int main(void) { return 0; }' |
        "$clang" --target=wasm32-wasi -x c -o "$probe" - 2>/dev/null; then
        compiler=$clang
        break
    fi
done
rm -f "$probe"
if [ -z "$compiler" ]; then
    echo "there is no clang that builds for WASI. Debian 12 and later:"
    echo "  apt-get install clang-19 lld-19 libclang-rt-19-dev-wasm32 wasi-libc"
    exit 69
fi
find function -name '*.c' | sort >sources
[ -s sources ] || {
    echo "the handler has no .c file"
    exit 1
}
# A small stack, placed first: less memory to clear for each invocation, and running over it is a trap.
xargs "$compiler" --target=wasm32-wasi -O2 -s -Wall -Wextra -Ifunction -Wl,--stack-first -Wl,-z,stack-size=65536 \
    -o "$BRAMBLE_OUTPUT" <sources

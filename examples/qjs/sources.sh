#!/usr/bin/env bash
# Prints the directory with the C sources of QuickJS-ng, which cargo fetches when they are not here yet.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/sources"
# Nothing is built, so which compiler there is does not matter.
manifest=$(cargo metadata --locked --format-version 1 | grep -o '"manifest_path":"[^"]*/rquickjs-sys-[^"]*"' | head -n 1)
sources=$(dirname "$(expr "$manifest" : '"manifest_path":"\(.*\)"')")/quickjs
[ -f "$sources/quickjs.c" ] || { echo "qjs: there is no quickjs.c in $sources" >&2; exit 1; }
echo "$sources"

#!/usr/bin/env bash
# Prints handler.js as C: its bytes and a 0.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
echo 'static const unsigned char handler[] = {'
od -An -v -tu1 handler.js | sed 's/^ *//; s/  */,/g; s/$/,/'
echo '0};'

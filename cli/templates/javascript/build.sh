#!/bin/sh
# Builds ./function/main.js and ./runner.js into $BRAMBLE_OUTPUT with componentize-qjs.
set -eu

. tools/node.sh
find_packages componentize-qjs@0.4
# One file, as the component has no module loader: the function first, then what calls it.
{ sed 's/^export //' function/main.js && cat runner.js; } >bundle.js
"$modules/.bin/componentize-qjs" --sync --opt-size --wit wit --world function --js bundle.js --output "$BRAMBLE_OUTPUT"

#!/bin/sh
# Builds ./function/main.js and ./runner.js into $BRAMBLE_OUTPUT with componentize-qjs.
set -eu

cache=${XDG_CACHE_HOME:-$HOME/.cache}/bramble/npm
modules=
for folder in "${BRAMBLE_NODE_MODULES:-}" "${BRAMBLE_HANDLER:-function}/node_modules" "$cache/node_modules"; do
    if [ -n "$folder" ] && [ -d "$folder/componentize-qjs" ]; then
        modules=$(cd "$folder" && pwd)
        break
    fi
done
if ! command -v node >/dev/null; then
    echo "node is missing: see https://nodejs.org, or apt-get install nodejs npm"
    exit 69
fi
if [ -z "$modules" ]; then
    echo "componentize-qjs is missing: type"
    echo "  npm install --prefix $cache componentize-qjs@0.4"
    exit 69
fi
# One file, as the component has no module loader: the function first, then what calls it.
{ sed 's/^export //' function/main.js && cat runner.js; } >bundle.js
"$modules/.bin/componentize-qjs" --sync --opt-size --wit wit --world function --js bundle.js --output "$BRAMBLE_OUTPUT"

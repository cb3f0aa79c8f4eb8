#!/bin/sh
# Builds ./function and ./runner.py into $BRAMBLE_OUTPUT with componentize-py.
set -eu

cache=${XDG_CACHE_HOME:-$HOME/.cache}/bramble/pip
if command -v componentize-py >/dev/null; then
    tool=componentize-py
elif [ -x "$cache/bin/componentize-py" ]; then
    tool=$cache/bin/componentize-py
    export PYTHONPATH="$cache${PYTHONPATH:+:$PYTHONPATH}"
else
    echo "componentize-py is missing: type"
    echo "  pip install --target $cache componentize-py==0.25.1"
    exit 69
fi
"$tool" -d wit -w function componentize runner -p . -p function -o "$BRAMBLE_OUTPUT"

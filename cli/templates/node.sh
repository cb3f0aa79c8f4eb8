# Read by the builds that run in node.

# find_packages PACKAGE@VERSION...: sets $modules to the folder that has them all: the one that
# BRAMBLE_NODE_MODULES names, the function's own node_modules, or the one in the cache. Ends the build when
# node or a package is missing, and says how to get it.
find_packages() {
    if ! command -v node >/dev/null; then
        echo "node is missing: see https://nodejs.org, or apt-get install nodejs npm"
        exit 69
    fi
    cache=${XDG_CACHE_HOME:-$HOME/.cache}/bramble/npm
    for modules in "${BRAMBLE_NODE_MODULES:-}" "${BRAMBLE_HANDLER:-function}/node_modules" "$cache/node_modules"; do
        if has_packages "$modules" "$@"; then
            modules=$(cd "$modules" && pwd)
            return
        fi
    done
    echo "${1%@*} is missing: type"
    echo "  npm install --prefix $cache $*"
    exit 69
}

has_packages() {
    folder=$1
    shift
    for package; do
        [ -d "${folder:-/nowhere}/${package%@*}" ] || return 1
    done
}

#!/bin/sh
# Brings what pip cannot: Debian's prometheus (promtool) and the independent gRPC client for Node.
# Never fails: a test that misses its tool is skipped and says so.
set -u
cd "$(dirname "$0")/.." || exit 0
want=""
command -v promtool >/dev/null 2>&1 || want="$want prometheus"
command -v gcore >/dev/null 2>&1 || want="$want gdb"
if [ -n "$want" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "installing$want (once)"
        export DEBIAN_FRONTEND=noninteractive
        # Not started: the tests start their own.
        { apt-get update && apt-get install -y --no-install-recommends $want; } >/tmp/cramulator-apt.log 2>&1 ||
            echo "could not install$want (see /tmp/cramulator-apt.log): its tests will be skipped"
    else
        echo "not here:$want (needs apt-get and root): its tests will be skipped"
    fi
fi
node_client=tests/e2e/node_client
if [ -f $node_client/package.json ] && [ ! -d $node_client/node_modules ]; then
    if command -v npm >/dev/null 2>&1; then
        echo "installing the Node gRPC client (once)"
        (cd $node_client && npm ci --silent --no-audit --no-fund) ||
            echo "could not install the Node gRPC client: its tests will be skipped"
    else
        echo "not here: npm: the Node client's tests will be skipped"
    fi
fi
exit 0

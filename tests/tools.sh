#!/bin/sh
# Brings what pip cannot: Debian's prometheus (promtool), gdb, h2load and Alertmanager, and packages for Node.
# Never fails: a test that misses its tool is skipped and says so.
set -u
cd "$(dirname "$0")/.." || exit 0
want=""
command -v promtool >/dev/null 2>&1 || want="$want prometheus"
command -v prometheus-alertmanager >/dev/null 2>&1 || want="$want prometheus-alertmanager"
command -v chromium >/dev/null 2>&1 || want="$want chromium fonts-dejavu-core"
command -v gcore >/dev/null 2>&1 || want="$want gdb"
command -v h2load >/dev/null 2>&1 || want="$want nghttp2-client"
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
for folder in tests/e2e/node_client tests/lab/grafana_schema deploy/examples/node; do
    if [ ! -d $folder/node_modules ]; then
        if command -v npm >/dev/null 2>&1; then
            echo "installing the Node packages of $folder (once)"
            (cd $folder && npm ci --silent --no-audit --no-fund) ||
                echo "could not install them: the tests of $folder will be skipped"
        else
            echo "not here: npm: the tests of $folder will be skipped"
        fi
    fi
done
exit 0

#!/bin/sh
# What `make deploy-test` needs, into .venv/deploy: podman and its parts, docker-compose, images to begin with.
# Says what could not be had; the tests that need it are skipped. Debian and root; podman keeps what it made.
set -u
cd "$(dirname "$0")/.." || exit 1
made=$PWD/.venv/deploy
mkdir -p "$made"
base=localhost/cramulator-base:bookworm-strip
mirror=http://deb.debian.org/debian

want=""
for pair in podman:podman runc:runc debootstrap:debootstrap iptables:iptables; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || want="$want ${pair##*:}"
done
[ -x /usr/lib/podman/netavark ] || want="$want netavark"
[ -x /usr/lib/podman/aardvark-dns ] || want="$want aardvark-dns"
if [ -n "$want" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "installing$want (once)"
        export DEBIAN_FRONTEND=noninteractive
        # shellcheck disable=SC2086 # several packages
        { apt-get update && apt-get install -y --no-install-recommends $want; } >"$made/apt.log" 2>&1 ||
            echo "could not install$want (see $made/apt.log)"
    else
        echo "not here:$want (needs apt-get and root)"
    fi
fi
command -v podman >/dev/null 2>&1 || { echo "no podman: nothing is run"; exit 0; }

# Healthy containers without systemd, cgroups without it, limits that a virtual machine may have set.
cat >"$made/containers.conf" <<END
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
END
export CONTAINERS_CONF="$made/containers.conf"

if [ ! -x "$made/docker-compose" ]; then
    if command -v docker-compose >/dev/null 2>&1; then
        ln -sf "$(command -v docker-compose)" "$made/docker-compose"
    else
        echo "taking docker-compose from Debian trixie (once)"
        apt=$made/apt
        mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$apt/sources.list"
        options="-o Dir::Etc::sourcelist=$apt/sources.list -o Dir::Etc::sourceparts=- -o Dir::State::lists=$apt/lists
            -o Dir::Cache=$apt/cache -o APT::Sandbox::User=root"
        # shellcheck disable=SC2086
        { apt-get $options update && cd "$apt" && apt-get $options download docker-compose &&
            dpkg -x docker-compose_*.deb . && cp usr/libexec/docker/cli-plugins/docker-compose ../docker-compose; } \
            >"$made/compose.log" 2>&1 || echo "no docker-compose (see $made/compose.log)"
        cd "$made/../.." || exit 1
    fi
fi

# pulled VARIABLE IMAGE: whether it can be had, now or from before
pulled() {
    podman image exists "$2" || timeout 60 podman pull -q "$2" >"$made/pull.log" 2>&1 ||
        { echo "cannot be pulled: $2"; return 1; }
    echo "$1=$2" >>"$made/images.env"
}
default() { sed -n "s/^.*\${$1:-\(.*\)}\$/\1/p" deploy/compose/compose.yaml; }
: >"$made/images.env"
if ! pulled PYTHON_IMAGE "$(sed -n 's/^ARG PYTHON_IMAGE=//p' deploy/images/Dockerfile)"; then
    echo "  instead: Debian's Python, by debootstrap"
    if ! podman image exists $base; then
        rm -rf "$made/rootfs"
        debootstrap --variant=minbase --include=python3,python3-venv,binutils bookworm "$made/rootfs" $mirror \
            >"$made/debootstrap.log" 2>&1 && rm -rf "$made/rootfs/var/cache/apt/archives" && tar -C "$made/rootfs" -c . | podman import -q - $base >/dev/null ||
            { echo "no base image (see $made/debootstrap.log): nothing is run"; exit 0; }
        rm -rf "$made/rootfs"
    fi
    echo "PYTHON_IMAGE=$base" >>"$made/images.env"
fi
# stand_in NAME PROGRAM: Debian's program of the machine, in an image with a folder of its own
stand_in() {
    echo "  instead: Debian's $2 in an image of its own"
    command -v "$2" >/dev/null 2>&1 || { echo "$2 is not installed: make tools"; return 1; }
    context=$made/$1
    mkdir -p "$context/share"
    cp "$(command -v "$2")" "$context/$1"
    [ ! -d "/usr/share/prometheus/$1" ] || cp -r "/usr/share/prometheus/$1" "$context/share/"
    cat >"$context/Dockerfile" <<END
FROM $base
COPY $1 /usr/bin/$1
COPY share /usr/share/prometheus
RUN install -d -o 65534 -g 65534 /$1
WORKDIR /etc/$1
USER 65534:65534
ENTRYPOINT ["/usr/bin/$1"]
END
    podman build -q -t "localhost/cramulator-$1:debian" "$context" >"$context/build.log" 2>&1 ||
        { echo "could not be built (see $context/build.log)"; return 1; }
}
pulled PROMETHEUS_IMAGE "$(default PROMETHEUS_IMAGE)" || { stand_in prometheus prometheus &&
    echo "PROMETHEUS_IMAGE=localhost/cramulator-prometheus:debian" >>"$made/images.env"; }
pulled ALERTMANAGER_IMAGE "$(default ALERTMANAGER_IMAGE)" || { stand_in alertmanager prometheus-alertmanager &&
    echo "ALERTMANAGER_IMAGE=localhost/cramulator-alertmanager:debian" >>"$made/images.env"; }
pulled GRAFANA_IMAGE "$(default GRAFANA_IMAGE)" || echo "  instead: nothing; Grafana is not run"
exit 0

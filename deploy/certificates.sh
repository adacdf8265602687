#!/bin/sh
# Certificates for trying things out: of a device, of hosts, of Prometheus. For anything that lasts use
# your own CAs (cert-manager, step-ca, ...): the files' names are what compose and the manifests ask for.
#
#   sh deploy/certificates.sh FOLDER [HOST...]        hosts: host-a host-b host-c unless named
#
#   FOLDER/HOST, FOLDER/prometheus    tls.crt, tls.key; ca.crt, by which they know the device
#   FOLDER/device                     tls.crt, tls.key; hosts-ca.crt and scrapers-ca.crt, by which it knows them
#   FOLDER/ca                         the CAs' keys, kept so that hosts can be added later
#
# Three CAs, because who signs decides who may do what: a host's certificate does not open /metrics, which
# tells of all hosts. What is there already is left alone. DAYS: how long they last (365).
# Keys can be read by whoever can enter their folder, which is its owner: what mounts a key into a
# container need not know under which number the container runs.
set -eu
umask 077
[ $# -ge 1 ] || { echo "usage: sh $0 FOLDER [HOST...]" >&2; exit 2; }
command -v openssl >/dev/null || { echo "$0: openssl is not installed" >&2; exit 1; }
folder=$1
shift
[ $# -gt 0 ] || set -- host-a host-b host-c
days=${DAYS:-365}
key="ec -pkeyopt ec_paramgen_curve:P-256 -nodes"

# authority NAME: one that signs
authority() {
    mkdir -p "$folder/ca"
    [ ! -s "$folder/ca/$1.key" ] || return 0
    # shellcheck disable=SC2086 # several words
    openssl req -x509 -newkey $key -days "$days" -subj "/CN=cramulator $1" \
        -addext "keyUsage=critical,keyCertSign,cRLSign" \
        -keyout "$folder/ca/$1.key" -out "$folder/ca/$1.crt" 2>/dev/null
}

# certificate NAME AUTHORITY PURPOSE SAN
certificate() {
    to=$folder/$1
    [ ! -s "$to/tls.crt" ] || { echo "$to: is there already"; return 0; }
    mkdir -p "$to"
    printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n' >"$to/extensions"
    printf 'extendedKeyUsage=%s\nsubjectAltName=%s\n' "$3" "$4" >>"$to/extensions"
    # shellcheck disable=SC2086
    openssl req -new -newkey $key -subj "/CN=$1" -keyout "$to/tls.key" -out "$to/request" 2>/dev/null
    openssl x509 -req -in "$to/request" -days "$days" -CA "$folder/ca/$2.crt" -CAkey "$folder/ca/$2.key" \
        -set_serial "0x$(openssl rand -hex 16)" -extfile "$to/extensions" -out "$to/tls.crt" 2>/dev/null
    rm "$to/extensions" "$to/request"
    if [ "$1" = device ]; then
        cp "$folder/ca/hosts.crt" "$to/hosts-ca.crt"
        cp "$folder/ca/scrapers.crt" "$to/scrapers-ca.crt"
    else
        cp "$folder/ca/devices.crt" "$to/ca.crt"
    fi
    chmod 444 "$to"/tls.crt "$to"/tls.key "$to"/*ca.crt
    echo "$to"
}

for name in devices hosts scrapers; do
    authority $name
done
# `device` is its name in compose, `device-b` that of a second one. In Kubernetes each of the set has a name of its own under that of the
# service; gRPC takes no wildcard directly under a name without a dot, so there is none for *.cxldevd.
names="DNS:device,DNS:device-b,DNS:localhost,IP:127.0.0.1,DNS:cxldevd"
for domain in cramulator cramulator.svc cramulator.svc.cluster.local; do
    names="$names,DNS:cxldevd.$domain,DNS:*.cxldevd.$domain"
done
certificate device devices serverAuth "$names"
certificate prometheus scrapers clientAuth "DNS:prometheus"
for host in "$@"; do
    certificate "$host" hosts clientAuth "DNS:$host"
done

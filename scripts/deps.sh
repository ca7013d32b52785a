#!/bin/sh
# Installs from Debian 12 what building needs; with --test also what the gates,
# the tests and the load generator's comparison need, with --static what static
# programs need. What is there already is
# left alone, so that a second run needs neither root nor a network.
set -eu

build_packages="gcc libc6-dev meson ninja-build pkg-config
    libnghttp2-dev libuv1-dev libprotobuf-c-dev protobuf-c-compiler libssl-dev
    libjson-c-dev libyaml-dev libc-ares-dev libisal-dev libdeflate-dev libcrypt-dev"
test_packages="libcmocka-dev clang-14 clang-format-14 clang-tidy-14 libclang-rt-14-dev
    etcd-client etcd-server python3 python3-etcd3 python3-grpcio
    nghttp2-client curl jq iproute2 iptables procps systemd mandoc rpm"
static_packages="nasm make"

wanted=$build_packages
case "${1:-}" in
"") ;;
--test) wanted="$wanted $test_packages" ;;
--static) wanted="$wanted $static_packages" ;;
*)
    echo "usage: scripts/deps.sh [--test | --static]" >&2
    exit 2
    ;;
esac

installed() {
    dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

missing=""
for package in $wanted; do
    installed "$package" || missing="$missing $package"
done

as_root=""
if [ "$(id -u)" != 0 ]; then
    as_root=sudo
fi

if [ -n "$missing" ]; then
    if [ -n "$as_root" ] && ! command -v sudo >/dev/null; then
        echo "deps.sh: not root and no sudo; install as root:" $missing >&2
        exit 1
    fi
    echo "deps.sh: installing" $missing
    # Debian starts the service of a package that it installs; the policy file,
    # where there is none yet, forbids it for the time of this call: a test
    # must not find an etcd on the usual ports that nobody asked for.
    $as_root env DEBIAN_FRONTEND=noninteractive sh -eu -c '
        policy=/usr/sbin/policy-rc.d
        if [ ! -e "$policy" ]; then
            trap "rm -f $policy" EXIT
            printf "#!/bin/sh\nexit 101\n" >"$policy"
            chmod +x "$policy"
        fi
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends "$@"' sh $missing
fi

llhttp=$(dirname "$0")/llhttp.sh
if ! "$llhttp" >/dev/null 2>&1; then
    # Most likely there are no package lists yet.
    $as_root apt-get update -qq
    "$llhttp" >/dev/null
fi

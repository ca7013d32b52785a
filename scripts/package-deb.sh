#!/bin/sh
# Makes a Debian package, libraries as its dependencies: dist/coracle_VERSION_ARCH.deb
#   scripts/package-deb.sh [DEST [BUILD [VERSION]]]     BUILD: programs that are built already
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
dest=${1:-dist}
build=${2:-}
if [ -z "$build" ]; then
    build=build-release
    scripts/deps.sh
    [ -f $build/build.ninja ] ||
        meson setup $build -Dtests=false --buildtype=release -Db_pie=true
    ninja -C $build
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree
scripts/package-stage.sh "$build" "$tree" /lib/systemd/system
version=${3:-$(sed -n "s/^  version: '\(.*\)',/\1/p" meson.build)}
arch=$(dpkg --print-architecture)

# The packages that own the libraries which the programs ask for.
mkdir -p "$work/debian"
: >"$work/debian/control"
depends=$(cd "$work" && dpkg-shlibdeps -O --ignore-missing-info tree/usr/bin/* 2>/dev/null |
    sed 's/^shlibs:Depends=//')

mkdir -p "$tree/DEBIAN"
cat >"$tree/DEBIAN/control" <<END
Package: coracle
Version: $version
Architecture: $arch
Maintainer: Coracle maintainers <maintainers@coracle.invalid>
Section: net
Priority: optional
Installed-Size: $(du -sk --exclude=DEBIAN "$tree" | cut -f1)
Depends: $depends
Recommends: systemd
Provides: etcd, etcd-server, etcd-client
Conflicts: etcd, etcd-server, etcd-client
Replaces: etcd, etcd-server, etcd-client
Description: replicated key-value store that speaks etcd's interface
 Coracle is etcd written anew in C: the same to clients, members, files and
 people, at a fraction of the processor time and memory. This package brings
 the server etcd, the tools etcdctl and etcdutl, and the service.
END
printf '%s\n' /etc/etcd/etcd.conf /etc/etcd/backup.conf >"$tree/DEBIAN/conffiles"
for script in postinst prerm postrm; do
    install -m 755 "packaging/deb/$script" "$tree/DEBIAN/$script"
done
(cd "$tree" && find usr lib etc -type f -print0 | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
mkdir -p "$dest"
dpkg-deb --root-owner-group -Zxz --build "$tree" "$dest/coracle_${version}_$arch.deb"

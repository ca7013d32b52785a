#!/bin/sh
# Makes a tarball of static programs that run on any Linux of the machine's kind, whatever
# libraries it has: dist/etcd-vVERSION-linux-ARCH.tar.gz
#   scripts/package-tarball.sh [DEST]
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
dest=${1:-dist}
build=build-static
scripts/deps.sh --static
[ -f $build/build.ninja ] ||
    meson setup $build -Dstatic=true -Dtests=false --buildtype=release -Db_pie=true
ninja -C $build
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
scripts/package-stage.sh $build "$work/tree"
version=$(sed -n "s/^  version: '\(.*\)',/\1/p" meson.build)
arch=$(uname -m)
[ "$arch" = x86_64 ] && arch=amd64
name=etcd-v$version-linux-$arch
# Programs lie at the top, as in etcd's own tarballs: `tar -xf` into a folder of the PATH works.
mkdir "$work/$name"
mv "$work"/tree/usr/bin/* "$work/$name/"
mv "$work"/tree/usr/share/doc/coracle/* "$work/$name/"
mkdir "$work/$name/share"
mv "$work/tree" "$work/$name/share/system"
mkdir -p "$dest"
tar -C "$work" --owner=0 --group=0 --sort=name -czf "$dest/$name.tar.gz" "$name"
echo "$dest/$name.tar.gz"

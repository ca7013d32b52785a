#!/bin/sh
# Prints the path of a static library of libisal, which Debian has none of: compiled from Debian's
# source package into .deps/isal, if it is not there yet. Needs nasm and make.
set -eu
deps=$(cd "$(dirname "$0")/.." && pwd)/.deps
library=$deps/isal/libisal.a
if [ ! -f "$library" ]; then
    mkdir -p "$deps"
    work=$(mktemp -d "$deps/isal.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    # Package lists of sources, without touching the system's own.
    mkdir -p "$work/lists/partial" "$work/parts"
    for list in /etc/apt/sources.list.d/*.sources; do
        [ -f "$list" ] && sed 's/^Types:.*/Types: deb-src/' "$list" >"$work/parts/${list##*/}"
    done
    : >"$work/list"
    for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -f "$list" ] && sed -n 's/^deb /deb-src /p' "$list" >>"$work/list"
    done
    apt() {
        apt-get -q -o Dir::Etc::sourcelist="$work/list" -o Dir::Etc::sourceparts="$work/parts" \
            -o Dir::State::lists="$work/lists" -o APT::Sandbox::User=root "$@" >&2
    }
    apt update
    (cd "$work" && apt --download-only source libisal)
    mkdir "$work/source"
    tar -xf "$work"/libisal_*.orig.tar.* -C "$work/source" --strip-components=1
    make -C "$work/source" -f Makefile.unx -j"$(nproc)" lib units=crc >"$work/log" 2>&1 || {
        tail -40 "$work/log" >&2
        exit 1
    }
    mkdir -p "$work/isal"
    cp "$work/source/bin/isa-l.a" "$work/isal/libisal.a"
    # Another configure may have been faster: then its copy stays.
    mv -T "$work/isal" "$deps/isal" 2>/dev/null || [ -f "$library" ]
fi
echo "$library"

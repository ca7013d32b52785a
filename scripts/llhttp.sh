#!/bin/sh
# Prints the root under which node-llhttp's files lie: / where the package is
# installed, else .deps/llhttp, unpacked there first if need be. Installing it is
# no way, since it conflicts with every nodejs but Debian's own.
set -eu
marker=usr/share/llhttp/llhttp.c
if [ -f "/$marker" ]; then
    echo /
    exit 0
fi
deps=$(cd "$(dirname "$0")/.." && pwd)/.deps
root=$deps/llhttp
if [ ! -f "$root/$marker" ]; then
    mkdir -p "$deps"
    work=$(mktemp -d "$deps/llhttp.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    (cd "$work" && apt-get -q -o APT::Sandbox::User=root download node-llhttp >&2)
    dpkg-deb -x "$work"/node-llhttp_*.deb "$work/root"
    # Another configure may have been faster: then its copy stays.
    mv -T "$work/root" "$root" 2>/dev/null || [ -f "$root/$marker" ]
fi
echo "$root"

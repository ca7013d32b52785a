#!/bin/sh
# Builds the programs into build/ (or the folder that is named).
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
build=${1:-build}
if [ ! -f "$build/build.ninja" ]; then
    # Without cmocka there are no tests to build, and nothing else is missed.
    tests=true
    pkg-config --exists cmocka || tests=false
    meson setup "$build" -Dtests=$tests
fi
exec ninja -C "$build"

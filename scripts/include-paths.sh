#!/bin/sh
# Makes <build>/inc/<folder>/<folder> a link to src/<folder>, one include path a folder.
set -eu
build=$1
src=$(cd "$(dirname "$0")/../src" && pwd)
for dir in "$src"/*/; do
    name=$(basename "$dir")
    mkdir -p "$build/inc/$name"
    ln -sfn "$src/$name" "$build/inc/$name/$name"
done

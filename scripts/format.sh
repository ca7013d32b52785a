#!/bin/sh
# Formats every C file, or the files named. With --check changes nothing and
# fails where something would change.
set -eu
cd "$(dirname "$0")/.."
mode=-i
if [ "${1:-}" = --check ]; then
    mode="--dry-run -Werror"
    shift
fi
if [ $# -gt 0 ]; then
    exec clang-format-14 $mode "$@"
fi
# tests/gates holds samples that are bad on purpose.
find src tests bench -name gates -prune -o -name '*.[ch]' -type f -print0 |
    xargs -0 clang-format-14 $mode

#!/bin/sh
# clang-tidy over src, or over the files named, with clang's own build of the
# tree (build-clang, made where it is missing) for its flags and generated headers.
#   --budget=S  begins no file after S seconds; the newest changes go first
#   --alone     files outside the build: the language's flags only
# Each file has a process of its own: clang-tidy 14 takes a va_list for
# uninitialized when it reads several.
set -eu
cd "$(dirname "$0")/.."
budget=3600
alone=""
while [ $# -gt 0 ]; do
    case $1 in
    --budget=*) budget=${1#--budget=} ;;
    --alone) alone=1 ;;
    *) break ;;
    esac
    shift
done

if [ -n "$alone" ]; then
    for file; do
        clang-tidy-14 --quiet "$file" -- -std=gnu17 -D_GNU_SOURCE 2>/dev/null
    done
    exit
fi

if [ ! -f build-clang/build.ninja ]; then
    CC=clang-14 meson setup build-clang -Dwerror=true >/dev/null
fi
built=$(ninja -C build-clang) || {
    printf '%s\n' "$built" | grep -v '^\[[0-9]*/[0-9]*\]'
    exit 1
}
# What git does not know is newest; a clone gives all files one time, so git's order it is.
by_age() {
    git ls-files --others --modified --exclude-standard src 2>/dev/null
    git log --format= --name-only -- src 2>/dev/null
    find src -name '*.c'
}
if [ $# -eq 0 ]; then
    set -- $(by_age | grep '\.c$' | awk '!seen[$0]++' | while read -r file; do
        [ -f "$file" ] && echo "$file"
    done)
fi
TIDY_END=$(($(date +%s) + budget))
export TIDY_END
findings=$(mktemp)
trap 'rm -f "$findings"' EXIT
status=0
printf '%s\n' "$@" | xargs -P "$(nproc)" -I{} sh -c '
    if [ "$(date +%s)" -ge "$TIDY_END" ]; then
        echo "left out, the time is over: {}"
        exit 0
    fi
    clang-tidy-14 --quiet -p build-clang {} 2>/dev/null' >"$findings" || status=1
sort -u "$findings"
exit $status

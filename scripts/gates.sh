#!/bin/sh
# Runs every gate over the tree, and shows for each that it fails on a bad
# sample, so that none can rot silently. --budget=S bounds clang-tidy.
# Ends with `N passed, N failed, N skipped`.
set -u
cd "$(dirname "$0")/.."
budget=3600
case "${1:-}" in
--budget=*) budget=${1#--budget=} ;;
esac
passed=0
failed=0
skipped=0
output=$(mktemp)
trap 'rm -f "$output"' EXIT

result() { # name, 0 where it is as it should be
    if [ "$2" = 0 ]; then
        passed=$((passed + 1))
        echo "ok    $1"
    else
        failed=$((failed + 1))
        echo "FAIL  $1"
        head -40 "$output"
    fi
}

holds() { # name, command...
    name=$1
    shift
    "$@" >"$output" 2>&1
    result "$name" $?
}

# The gate must fail, and say why: a gate that cannot start fails too.
refuses() { # name, text that it says, command...
    name=$1
    reason=$2
    shift 2
    if "$@" >"$output" 2>&1; then
        echo "passed, though the sample is bad" >"$output"
        result "$name" 1
    else
        grep -q "$reason" "$output"
        result "$name" $?
    fi
}

warnings="-Wall -Wextra -Wconversion -Wno-sign-conversion -Wshadow -Wvla -Wmissing-prototypes -Wswitch-enum -Werror"

holds "format: the tree" scripts/format.sh --check
refuses "format: a bad sample" clang-format-violations scripts/format.sh --check tests/gates/bad_format.c
holds "includes: the tree" scripts/includes.sh
refuses "includes: an upward include" "base may not see raft" scripts/includes.sh tests/gates/upward
refuses "includes: a way around" "goes around" scripts/includes.sh tests/gates/upward
holds "banned calls: the tree" scripts/banned.sh
refuses "banned calls: a bad sample" "bad_call.c:8:" scripts/banned.sh tests/gates/bad_call.c
refuses "warnings: a bad sample" conversion gcc $warnings -fsyntax-only tests/gates/bad_warning.c
holds "tidy: the tree" scripts/tidy.sh --budget="$budget"
left_out=$(grep -c '^left out' "$output")
if [ "$left_out" -gt 0 ]; then
    skipped=$((skipped + 1))
    echo "skip  tidy: $left_out files after $budget s"
fi
refuses "tidy: a bad sample" "after it is freed" scripts/tidy.sh --alone tests/gates/bad_tidy.c
holds "symbols: the tree" scripts/symbols.sh build-clang
samples=build-clang/gate/symbols
rm -rf $samples
mkdir -p $samples
for side in a b; do
    gcc -c tests/gates/symbols_$side.c -o $samples/$side.o && ar rc $samples/lib$side.a $samples/$side.o
done
refuses "symbols: a bad sample" "request_headers is defined in lib" scripts/symbols.sh $samples
refuses "include paths: an upward include" "raft/raft.h" \
    clang-14 -fsyntax-only -Ibuild-clang/inc/base tests/gates/upward/src/base/up.c

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]

#!/bin/sh
# Everything that must hold before a change goes in: gates, unit, transcript,
# fuzz, simulator and integration tests, in plain and sanitizer builds.
#   --fast        no sanitizer builds
#   --long        also suite `long` and ten seconds of libFuzzer a target
#   --no-install  takes the machine as it is
# Shows its progress, and ends with the line `N passed, N failed, N skipped`; a
# test passes by its exit status alone, 77 counts as skipped. Exit status 1 where
# anything failed, 0 elsewhere.
set -u
cd "$(dirname "$0")/.."

fast=""
long=""
install=1
for argument; do
    case $argument in
    --fast) fast=1 ;;
    --long) long=1 ;;
    --no-install) install="" ;;
    *)
        echo "usage: scripts/test.sh [--fast] [--long] [--no-install]" >&2
        exit 2
        ;;
    esac
done

tidy_budget_s=150
passed=0
failed=0
skipped=0
failures=""
started=$(date +%s)

stage() {
    echo
    echo "=== $* ($(($(date +%s) - started)) s)"
}

fail() {
    failed=$((failed + 1))
    failures="$failures
    $*"
}

finish() {
    echo
    if [ "$failed" -gt 0 ]; then
        echo "failed:$failures"
    fi
    echo "took $(($(date +%s) - started)) s"
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" = 0 ]
    exit
}

# Adds up a folder's meson-logs/testlog.json: one object a line, one a test.
add_up() { # build folder
    log=$1/meson-logs/testlog.json
    if [ ! -s "$log" ]; then
        fail "$1: no test ran"
        return
    fi
    passed=$((passed + $(jq -r .result "$log" | grep -cE '^(OK|EXPECTEDFAIL)$')))
    skipped=$((skipped + $(jq -r .result "$log" | grep -cE '^(SKIP|IGNORED)$')))
    for name in $(jq -r 'select(.result | test("^(OK|EXPECTEDFAIL|SKIP|IGNORED)$") | not)
            | "\(.name | gsub(" "; ""))(\(.result))"' "$log"); do
        fail "$1: $name"
    done
}

configure() { # build folder, meson options...
    build=$1
    shift
    if [ ! -f "$build/build.ninja" ]; then
        meson setup "$build" "$@" >"$build.log" 2>&1 || {
            cat "$build.log"
            fail "$build: cannot be configured"
            return 1
        }
        rm -f "$build.log"
    fi
}

run_tests() { # build folder, arguments of meson test...
    build=$1
    shift
    rm -f "$build/meson-logs/testlog.json"
    meson test -C "$build" --no-rebuild --print-errorlogs "$@"
    add_up "$build"
}

# Without a terminal ninja prints a line an object: only the last few matter.
build_in() { # build folder
    if ! ninja -C "$1" >"$1/build.log" 2>&1; then
        grep -vE '^\[[0-9]+/[0-9]+\]' "$1/build.log" | head -60
        fail "$1: does not build"
        return 1
    fi
    tail -1 "$1/build.log"
}

# A finding of any sanitizer fails the test that met it.
export ASAN_OPTIONS="halt_on_error=1:abort_on_error=1:detect_leaks=1"
export UBSAN_OPTIONS="halt_on_error=1:abort_on_error=1:print_stacktrace=1"
export TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1"

if [ -n "$install" ]; then
    stage "what is needed"
    scripts/deps.sh --test || {
        fail "dependencies"
        finish
    }
fi

stage "build, gcc, warnings are errors"
if ! configure build-test -Dwerror=true || ! build_in build-test; then
    finish
fi

stage "gates"
gates=$(mktemp)
scripts/gates.sh --budget=$tidy_budget_s | tee "$gates"
if tail -1 "$gates" | grep -qxE '[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped'; then
    passed=$((passed + $(tail -1 "$gates" | cut -d' ' -f1)))
    skipped=$((skipped + $(tail -1 "$gates" | cut -d' ' -f5)))
else
    fail "gates: did not come to their end"
fi
grep '^FAIL' "$gates" >"$gates.failed"
while read -r _ name; do
    fail "gate $name"
done <"$gates.failed"
rm -f "$gates" "$gates.failed"

without_long="--no-suite long"
[ -n "$long" ] && without_long=""

stage "tests, plain build"
run_tests build-test $without_long

if [ -z "$fast" ]; then
    stage "tests, address and undefined sanitizers"
    configure build-asan -Db_sanitize=address,undefined -Db_lundef=false \
        -Dc_args=-DCORACLE_DCHECK && build_in build-asan &&
        run_tests build-asan --timeout-multiplier 4 --no-suite long --no-suite integration \
            --no-suite interop

    stage "tests of what is threaded, thread sanitizer"
    configure build-tsan -Db_sanitize=thread -Db_lundef=false \
        -Dc_args=-DCORACLE_DCHECK && build_in build-tsan &&
        run_tests build-tsan --timeout-multiplier 4 --suite threads
fi

if [ -n "$long" ]; then
    stage "libFuzzer"
    CC=clang-14 configure build-fuzz -Dfuzz=true -Db_lundef=false && build_in build-fuzz &&
        run_tests build-fuzz --suite fuzz
fi

finish

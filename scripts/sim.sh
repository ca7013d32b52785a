#!/bin/sh
# Breaks simulated clusters on purpose (tests/sim/sim.h says how).
#
#     scripts/sim.sh [--from SEED] [--seeds N] [--seconds S] [--trace-hash] [--bug NAME | --bugs]
#
#   --from SEED    the first seed (1); --fresh: some seed that nobody has tried;
#                  --of-commit: one that belongs to this commit
#   --seeds N      so many (100, or without end where --seconds is given)
#   --seconds S    no seed is begun after so long
#   --profile NAME any, churn, even, leases, chase, power or leave (tests/sim/sim.h), instead of
#                  what the seed says
#   --trace-hash   runs each seed twice: all that happens must be the same
#   --shrink       where a seed fails, looks for the few faults that it takes
#   --crash-points cuts the file calls of a recorded workload at each call
#   --bugs         lists the planted bugs; --bug NAME plants one
# Builds what it needs (build-sim, and build-bugs for planted ones) with the tree as it is.
# Exit status: 0 nothing was found, 1 a checker failed, 2 wrong use.
set -eu
cd "$(dirname "$0")/.."
build=build-sim
options=""
for argument; do
    case $argument in
    --bug | --bug=*)
        build=build-bugs
        options=-Dbugs=true
        ;;
    esac
done
if [ ! -f $build/build.ninja ]; then
    meson setup $build $options >$build.log 2>&1 || {
        cat $build.log >&2
        exit 2
    }
    rm -f $build.log
fi
ninja -C $build tests/sim/sim >$build/build.log 2>&1 || {
    grep -vE '^\[[0-9]+/[0-9]+\]' $build/build.log | head -60 >&2
    exit 2
}
exec $build/tests/sim/sim "$@"

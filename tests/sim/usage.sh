#!/bin/sh
# What the simulator says of how it was called, and of itself.
set -u
sim=$1
failed=0

status() { # expected, arguments...
    expected=$1
    shift
    "$sim" "$@" >/dev/null 2>&1
    got=$?
    if [ $got != "$expected" ]; then
        echo "sim $*: exit status $got, must be $expected"
        failed=1
    fi
}

status 2 --nonsense
status 2 --from
status 2 --from x
status 2 --seeds -1
status 2 --seconds 0
status 2 --members 6
status 2 --bug
status 2 --bug no_such_bug
status 2 --bugs --bug vote_twice
status 2 --only nothing.1
status 2 --only crash
status 2 --without fun
status 2 surplus
status 0 --bugs
status 0 --quiet --from 3 --seeds 1
status 0 --quiet --from 3 --seeds 1 --members 1
status 2 --profile nothing
status 0 --quiet --from 3 --seeds 1 --profile chase
status 0 --quiet --from 3 --seeds 1 --only crash.0,cut.1 --without loss,drift
listed=$("$sim" --bugs | wc -l)
if [ "$listed" -lt 30 ]; then
    echo "only $listed planted bugs"
    failed=1
fi
exit $failed

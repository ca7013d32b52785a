#!/bin/sh
# A usual build has no planted bug: nothing that could choose one is in it.
set -u
for program; do
    if nm "$program" | grep -w bug_planted; then
        echo "$program has planted bugs"
        exit 1
    fi
done
"$2" --bug vote_twice >/dev/null 2>&1
[ $? = 2 ]

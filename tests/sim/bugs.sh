#!/bin/sh
# Each planted bug must be found within ten minutes of one core by the ordinary run. Arguments: the
# simulator; names (all).
set -u
sim=$1
shift
[ $# -gt 0 ] || set -- $("$sim" --bugs | cut -d' ' -f1)
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for bug; do
    began=$(date +%s)
    "$sim" --quiet --bug "$bug" --seconds 600 >"$log" 2>&1
    if [ $? = 1 ]; then
        seed=$(sed -n 's/^found with seed \([0-9]*\) .*/\1/p' "$log" | head -1)
        echo "$bug: seed $seed, $(($(date +%s) - began)) s: $(head -1 "$log")"
    else
        echo "$bug: NOT FOUND"
        failed=1
    fi
done
exit $failed

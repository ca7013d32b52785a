#!/bin/sh
# No two of our static libraries define the same global symbol: the linker takes
# the first that it meets and says nothing, so that one folder silently calls
# another's function. Looks at every library of the build folder that is named
# (build).
set -eu
build=${1:-$(dirname "$0")/../build}
symbols=$(mktemp)
trap 'rm -f "$symbols"' EXIT
find "$build" -name '*.a' -type f | sort | while read -r library; do
    # A line of nm: value, kind, name; capital kinds are global. The unit tests'
    # own helpers count too: they are linked with the same folders.
    nm --defined-only --extern-only "$library" |
        awk -v library="${library##*/}" 'NF == 3 && $2 ~ /^[A-Z]$/ && $2 != "W" && $2 != "V" { print $3, library }'
done | sort -u >"$symbols"
if [ ! -s "$symbols" ]; then
    echo "symbols.sh: no library in $build" >&2
    exit 1
fi
awk '
    { libraries[$1] = libraries[$1] " " $2; count[$1]++ }
    END {
        for (symbol in count)
            if (count[symbol] > 1) {
                print symbol " is defined in" libraries[symbol]
                bad = 1
            }
        exit bad
    }' "$symbols"

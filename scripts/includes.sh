#!/bin/sh
# The only direction in which includes run: src/meson.build lists the folders,
# and a file may include its own folder and those that its folder's meson.build
# names, and what those name in turn. The include paths already keep an upward
# include from compiling; this says so before a build, and finds ways around
# them. Each program under src/cmd is such a folder too. Takes the root of
# another tree for the gate's own test.
set -eu
cd "${1:-$(dirname "$0")/..}"

order=$(sed -n "s/^subdir('\([a-z]*\)').*/\1/p" src/meson.build)
named() { # folder, its meson.build
    # Only folders count, not the libraries of others.
    sed -n "s/^${1}_deps *= *\[\(.*\)\].*/\1/p" "$2" |
        tr ', ' '\n\n' | sed -n "s/^\([a-z]*\)_dep$/\1/p" | sed "s/^/dep $1 /"
}
programs=""
for folder in $order; do
    if [ "$folder" = cmd ]; then
        # Each program is a folder of its own, and sees what it names itself.
        programs=$(cd src/cmd && find . -mindepth 1 -maxdepth 1 -type d | sed 's/^..//' | sort)
        for program in $programs; do
            named "$program" src/cmd/meson.build
        done
    else
        named "$folder" "src/$folder/meson.build"
    fi
done >"${TMPDIR:-/tmp}/includes.$$"
trap 'rm -f "${TMPDIR:-/tmp}/includes.$$"' EXIT

{
    echo "order" $order $programs
    cat "${TMPDIR:-/tmp}/includes.$$"
    find src -name '*.[ch]' -type f -exec grep -nH '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' {} + |
        sed 's/^\([^:]*\):\([0-9]*\):[^"]*"\([^"]*\)".*/use \1 \2 \3/'
} | awk '
    $1 == "order" {
        for (i = 2; i <= NF; i++) {
            rank[$i] = i
            sees[$i, $i] = 1
            folder[i] = $i
        }
        count = NF
    }
    # Lines come in the order of the folders, so what a folder names is complete
    # by the time that another one inherits it.
    $1 == "dep" && ($3 in rank) {
        if (rank[$3] >= rank[$2]) {
            printf "%s_deps: %s stands above %s\n", $2, $2, $3
            bad = 1
        }
        for (i = 2; i <= count; i++)
            if ((($3, folder[i]) in sees))
                sees[$2, folder[i]] = 1
    }
    $1 == "use" {
        split($2, path, "/")
        target = $4
        from = path[2] == "cmd" ? path[3] : path[2]
        if (target ~ /^\.\.?\//) {
            printf "%s:%s: \"%s\" goes around the include paths\n", $2, $3, target
            bad = 1
        } else if (split(target, part, "/") == 2) {
            if ((part[1] in rank) && !((from, part[1]) in sees)) {
                printf "%s:%s: %s may not see %s\n", $2, $3, from, part[1]
                bad = 1
            }
        } else if (target !~ /\.pb-c\.h$/ && target != "version.h") {
            printf "%s:%s: \"%s\" names no folder\n", $2, $3, target
            bad = 1
        }
    }
    END { exit bad }'

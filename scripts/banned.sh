#!/bin/sh
# Calls that nobody makes: they overrun, hide errors, or hand text to a shell.
# Over src, tests and bench, or over the files named. Comments and strings do
# not count.
set -eu
cd "$(dirname "$0")/.."
banned='strcpy|strcat|strncpy|strncat|stpcpy|sprintf|vsprintf|gets|strtok|atoi|atol|atoll|atof|sscanf|scanf|alloca|rand|srand|random|mktemp|tmpnam|system|popen'
if [ $# -eq 0 ]; then
    set -- $(find src tests bench -name gates -prune -o -name '*.[ch]' -type f -print)
fi
status=0
for file; do
    # The preprocessor takes comments away and keeps the lines.
    hits=$(gcc -fpreprocessed -dD -E -x c "$file" 2>/dev/null |
        awk -v file="$file" -v banned="(^|[^A-Za-z0-9_.>])($banned)[ \t]*\\\\(" '
            /^# [0-9]+ / { line = $2; next }
            {
                gsub(/\\./, "")
                gsub(/"[^"]*"/, "\"\"")
                if ($0 ~ banned) print file ":" line ": " $0
                line++
            }')
    if [ -n "$hits" ]; then
        printf '%s\n' "$hits"
        status=1
    fi
done
exit $status

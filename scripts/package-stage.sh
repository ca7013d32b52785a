#!/bin/sh
# Lays out what a package holds, from a build folder, below a folder of its own:
#   scripts/package-stage.sh BUILD DEST [UNIT_DIR]
# Binaries, unit, settings, man pages, completions, firewalld's service. The list of settings in
# etcd.conf and the flags and commands in the man pages are asked of the programs themselves, so
# that they cannot fall behind them.
set -eu
build=$1
dest=$2
units=${3:-/usr/lib/systemd/system}
root=$(cd "$(dirname "$0")/.." && pwd)
packaging=$root/packaging
bin=$build/src/cmd
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

put() { # mode, source, target
    install -D -m "$1" "$2" "$dest$3"
}

tools="etcd etcdctl etcdutl"
for tool in $tools; do
    strip -o "$work/$tool" "$bin/$tool"
    put 755 "$work/$tool" "/usr/bin/$tool"
done
put 755 "$packaging/etcd-backup" /usr/libexec/etcd-backup

for unit in etcd.service etcd-backup.service etcd-backup.timer; do
    put 644 "$packaging/systemd/$unit" "$units/$unit"
done
put 644 "$packaging/systemd/etcd.sysusers" /usr/lib/sysusers.d/etcd.conf
put 644 "$packaging/systemd/etcd.tmpfiles" /usr/lib/tmpfiles.d/etcd.conf
put 644 "$packaging/firewalld/etcd.xml" /usr/lib/firewalld/services/etcd.xml

# "  --flag 'default'" and, below it, what it means.
"$bin/etcd" --help >"$work/help"
awk -v conf="$packaging/conf/etcd.conf" '
BEGIN {
    while ((getline line <conf) > 0)
        if (match(line, /^ETCD_[A-Z0-9_]+=/))
            set[substr(line, 1, RLENGTH - 1)] = 1
}
/^  --/ {
    flag = substr($1, 3)
    value = $0
    sub(/^[^\047]*\047/, "", value)
    sub(/\047$/, "", value)
    next
}
flag != "" {
    meaning = $0
    sub(/^ +/, "", meaning)
    name = flag
    gsub(/[-.]/, "_", name)
    name = "ETCD_" toupper(name)
    # What the conf file sets itself, and what makes no sense in it.
    if (!(name in set) && flag != "config-file" && flag != "version") {
        gsub(/"/, "\\\"", value)
        printf "\n# %s\n#%s=\"%s\"\n", meaning, name, value
    }
    flag = ""
}' "$work/help" >"$work/settings"
cat "$packaging/conf/etcd.conf" "$work/settings" >"$work/etcd.conf"
put 644 "$work/etcd.conf" /etc/etcd/etcd.conf
put 644 "$packaging/conf/backup.conf" /etc/etcd/backup.conf

# ── Man pages ────────────────────────────────────────────────────────────────────────────────

date=$(git -C "$root" log -1 --format=%cd --date=format:'%B %-d, %Y' 2>/dev/null || date '+%B %-d, %Y')
etcd_version=$("$bin/etcd" --version | sed -n 's/^etcd Version: //p')

# Text that begins a line or holds a backslash, made harmless for roff.
roff='function roff(text) { gsub(/\\/, "\\e", text); gsub(/-/, "\\-", text); if (text ~ /^[.\047]/) text = "\\&" text; return text }'

awk "$roff"'
/^  --/ {
    flag = substr($1, 3)
    value = $0
    sub(/^[^\047]*\047/, "", value)
    sub(/\047$/, "", value)
    gsub(/"/, "\\(dq", value)
    printf ".It Fl \\-%s Ns = Ns Ar %s\n", roff(flag), value == "" ? "\\(dq\\(dq" : "\\(dq" value "\\(dq"
    next
}
/^        / && !/^  --/ { sub(/^ +/, ""); print roff($0) }' "$work/help" >"$work/flags"

fill() { # template, name=value or name=@file ...
    template=$1
    shift
    cp "$template" "$work/page"
    for pair; do
        key=${pair%%=*}
        value=${pair#*=}
        case $value in
        @*) awk -v key="@$key@" -v file="${value#@}" '
            $0 == key { while ((getline line <file) > 0) print line; next } { print }' \
            "$work/page" >"$work/page.new" ;;
        *) awk -v key="@$key@" -v value="$value" '
            { while ((at = index($0, key)) > 0)
                $0 = substr($0, 1, at - 1) value substr($0, at + length(key))
              print }' "$work/page" >"$work/page.new" ;;
        esac
        mv "$work/page.new" "$work/page"
    done
}

man_page() { # section, name
    gzip -9n <"$work/page" >"$work/page.gz"
    put 644 "$work/page.gz" "/usr/share/man/man$1/$2.$1.gz"
    if [ -n "${MAN_KEEP:-}" ]; then
        mkdir -p "$MAN_KEEP"
        cp "$work/page" "$MAN_KEEP/$2.$1"
    fi
}

# The help of each command, one below the other.
commands_of() { # tool
    "$bin/$1" help | awk '/^  [a-z]/ && !/\[command\]/ { print $1 }' >"$work/names"
    while read -r name; do
        printf '.Ss %s\n.Bd -literal\n' "$name"
        "$bin/$1" help "$name" | awk "$roff"'/^Use "/ { next } { print roff($0) }'
        echo .Ed
    done <"$work/names"
}

fill "$packaging/man/etcd.8.in" DATE="$date" ETCD_VERSION="$etcd_version" FLAGS="@$work/flags"
man_page 8 etcd
fill "$packaging/man/etcd.conf.5.in" DATE="$date"
man_page 5 etcd.conf
fill "$packaging/man/etcd-backup.8.in" DATE="$date"
man_page 8 etcd-backup

commands_of etcdctl >"$work/commands"
cat >"$work/intro" <<END
.Nm
asks a cluster, and changes it.
Each flag that every command takes has a variable:
.Fl -endpoints
is
.Ev ETCDCTL_ENDPOINTS .
With
.Ev ETCDCTL_API Ns =2
it is the tool of etcd 2's keys API.
END
echo ".Xr etcdutl 1 ," >"$work/see"
fill "$packaging/man/tool.1.in" DATE="$date" TITLE=ETCDCTL TOOL=etcdctl \
    WHAT="command line client of an etcd cluster" INTRO="@$work/intro" \
    COMMANDS="@$work/commands" SEE="@$work/see"
man_page 1 etcdctl

commands_of etcdutl >"$work/commands"
cat >"$work/intro" <<END
.Nm
works on files: snapshots and data directories of members that do not run.
END
echo ".Xr etcdctl 1 ," >"$work/see"
fill "$packaging/man/tool.1.in" DATE="$date" TITLE=ETCDUTL TOOL=etcdutl \
    WHAT="works on snapshots and data directories of etcd" INTRO="@$work/intro" \
    COMMANDS="@$work/commands" SEE="@$work/see"
man_page 1 etcdutl

# ── Completions ──────────────────────────────────────────────────────────────────────────────

for tool in etcdctl etcdutl; do
    "$bin/$tool" completion bash >"$work/bash"
    put 644 "$work/bash" "/usr/share/bash-completion/completions/$tool"
    "$bin/$tool" completion zsh >"$work/zsh"
    put 644 "$work/zsh" "/usr/share/zsh/vendor-completions/_$tool"
    "$bin/$tool" completion fish >"$work/fish"
    put 644 "$work/fish" "/usr/share/fish/vendor_completions.d/$tool.fish"
done

for doc in README.md LICENSE; do
    put 644 "$root/$doc" "/usr/share/doc/coracle/$doc"
done
put 644 "$packaging/etcd-backup.cron" /usr/share/doc/coracle/etcd-backup.cron
for doc in "$root"/docs/*.md; do
    put 644 "$doc" "/usr/share/doc/coracle/docs/${doc##*/}"
done

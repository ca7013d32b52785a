#!/bin/sh
# Installs what building needs, builds, and starts a cluster of three members on
# this machine's loopback, with their data under quickstart.data.
#   scripts/quickstart.sh          build, start, try it out, leave it running
#   scripts/quickstart.sh stop     stop it; the data stays, a start goes on with it
#   scripts/quickstart.sh clean    stop it and remove the data
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
data=$root/quickstart.data
etcd=$root/build/src/cmd/etcd
etcdctl=$root/build/src/cmd/etcdctl
start_deadline_s=60
stop_deadline_s=15

# name, client port, peer port
members="infra1:2379:2380 infra2:22379:22380 infra3:32379:32380"
endpoints=""
cluster=""
for member in $members; do
    name=${member%%:*}
    ports=${member#*:}
    endpoints="$endpoints${endpoints:+,}127.0.0.1:${ports%:*}"
    cluster="$cluster${cluster:+,}$name=http://127.0.0.1:${ports#*:}"
done

# The process that the pid file names, if it is still the member that we started.
running() { # name
    pid=$(cat "$data/$1.pid" 2>/dev/null) || return 1
    [ -n "$pid" ] && [ -e "/proc/$pid/cmdline" ] || return 1
    { tr '\0' '\n' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qxF -e "--data-dir=$data/$1"
}

# Tries a command again until it succeeds; fails at the deadline.
wait_until() { # seconds, command...
    end=$(($(date +%s) + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$end" ] || return 1
        sleep 0.1
    done
}

stopped() { # name
    ! running "$1"
}

# Also ends the wait where a member has ended: somebody else may hold its port
# and answer in its place.
healthy_or_gone() {
    for member in $members; do
        running "${member%%:*}" || return 0
    done
    "$etcdctl" --endpoints="$endpoints" endpoint health
}

stop() {
    for member in $members; do
        name=${member%%:*}
        if running "$name"; then
            kill "$pid"
        fi
    done
    for member in $members; do
        name=${member%%:*}
        if ! wait_until $stop_deadline_s stopped "$name"; then
            echo "quickstart: $name (pid $pid) is still there after $stop_deadline_s s" >&2
            exit 1
        fi
        rm -f "$data/$name.pid"
    done
}

give_up() { # message
    echo "quickstart: $1" >&2
    for member in $members; do
        name=${member%%:*}
        echo "--- $data/$name.log ends with" >&2
        tail -5 "$data/$name.log" >&2 || true
    done
    stop
    exit 1
}

start() { # name, client port, peer port
    setsid "$etcd" --name="$1" --data-dir="$data/$1" \
        --listen-client-urls="http://127.0.0.1:$2" \
        --advertise-client-urls="http://127.0.0.1:$2" \
        --listen-peer-urls="http://127.0.0.1:$3" \
        --initial-advertise-peer-urls="http://127.0.0.1:$3" \
        --initial-cluster="$cluster" --initial-cluster-token=quickstart \
        --initial-cluster-state=new >>"$data/$1.log" 2>&1 </dev/null &
    echo $! >"$data/$1.pid"
}

show() { # command as people type it
    echo
    echo "\$ etcdctl --endpoints=$endpoints $*"
    "$etcdctl" --endpoints="$endpoints" "$@"
}

case "${1:-start}" in
start) ;;
stop)
    stop
    echo "stopped; the data is in $data"
    exit
    ;;
clean)
    stop
    rm -rf "$data"
    echo "stopped, and the data is removed"
    exit
    ;;
*)
    echo "usage: scripts/quickstart.sh [start | stop | clean]" >&2
    exit 2
    ;;
esac

for member in $members; do
    if running "${member%%:*}"; then
        echo "quickstart: ${member%%:*} is running already; scripts/quickstart.sh stop ends it" >&2
        exit 1
    fi
done

echo "--- what is needed"
scripts/deps.sh
echo "--- build"
scripts/build.sh
echo "--- start of three members"
mkdir -p "$data"
unset ETCDCTL_API ETCDCTL_ENDPOINTS
for member in $members; do
    name=${member%%:*}
    ports=${member#*:}
    start "$name" "${ports%:*}" "${ports#*:}"
done
wait_until $start_deadline_s healthy_or_gone ||
    give_up "the cluster is not healthy after $start_deadline_s s"
for member in $members; do
    running "${member%%:*}" || give_up "${member%%:*} ended during its start"
done

show put greeting hello || give_up "put failed"
show get greeting || give_up "get failed"
show endpoint health || give_up "endpoint health failed"
show member list -w table || give_up "member list failed"

cat <<END

Three members are running. To use them:
    alias etcdctl=$etcdctl
    export ETCDCTL_ENDPOINTS=$endpoints
    etcdctl put key value
Their logs and data: $data
To stop them: scripts/quickstart.sh stop      and to remove the data: scripts/quickstart.sh clean
END

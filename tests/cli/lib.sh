# lib.sh - what the tests of the program share. Sourced; CRONQ and JSON_GET are the programs.
#
#     expect CODE COMMAND...   runs it; its output is in $out and $err afterwards
#     says TEXT                $out contains it; complains TEXT: $err does
#     json KEY...              prints a value of $out as JSON
#     same WANTED GOT          they are equal
#     within SECONDS COMMAND...  it succeeds before that
#     free_port                prints a port of loopback that nobody listens on
#
# The first of them that does not hold ends the test. redis starts a server of its own,
# whose URI is $uri; whatever is started in the background is put into $children.
set -u
work=$(mktemp -d)
out='' err='' children='' uri=''
unset CRONQ_URI NO_COLOR
XDG_STATE_HOME=$work/state
export XDG_STATE_HOME

cleanup() {
    for child in $children; do
        kill -KILL "$child" 2>/dev/null && wait "$child" 2>/dev/null
    done
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP

broken() {
    printf '%s\n' "not so: $*" "--- stdout" "$out" "--- stderr" "$err"
    exit 1
}

expect() {
    wanted=$1
    shift
    "$@" >"$work/out" 2>"$work/err"
    got=$?
    out=$(cat "$work/out") err=$(cat "$work/err")
    [ "$got" -eq "$wanted" ] || broken "exit code $wanted of: $* (it was $got)"
}

says() {
    case $out in *"$1"*) ;; *) broken "stdout says \"$1\"" ;; esac
}

complains() {
    case $err in *"$1"*) ;; *) broken "stderr says \"$1\"" ;; esac
}

json() {
    printf '%s\n' "$out" | "$JSON_GET" "$@"
}

same() {
    [ "$1" = "$2" ] || broken "\"$1\" is \"$2\""
}

within() {
    until_s=$(($(date +%s) + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -le "$until_s" ] || broken "in time: $*"
        sleep 0.05
    done
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

redis() {
    redis-server --port 0 --unixsocket "$work/redis" --save '' --appendonly no >"$work/redis.log" &
    children="$children $!"
    uri="redis-socket://$work/redis"
    within 30 redis-cli -s "$work/redis" ping
}

# lib.sh - what the tests of the program share. Sourced; CRONQ and JSON_GET are the programs.
#
#     expect CODE COMMAND...   runs it; its output is in $out and $err afterwards
#     says TEXT                $out contains it; complains TEXT: $err does
#     json KEY...              prints a value of $out as JSON
#     same WANTED GOT          they are equal
#     within SECONDS COMMAND...  it succeeds before that
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
    tries=$(($1 * 20))
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || broken "in time: $*"
        sleep 0.05
    done
}

redis() {
    redis-server --port 0 --unixsocket "$work/redis" --save '' --appendonly no >"$work/redis.log" &
    children="$children $!"
    uri="redis-socket://$work/redis"
    within 10 redis-cli -s "$work/redis" ping
}

#!/bin/sh
# cronq server as a service: the unit, notifications, watchdog, reload, signals.
. "${0%/*}/lib.sh"

# The unit is right and shut tight; so it is with the addition for commands.
mkdir -p "$work/units/cronq.service.d"
sed "s|^ExecStart=[^ ]*|ExecStart=$CRONQ|" "$BUILD/cronq.service" >"$work/units/cronq.service"
expect 0 systemd-analyze verify --man=no "$work/units/cronq.service"
same "" "$out$err"
expect 0 systemd-analyze security --no-pager --offline=true --threshold=25 "$work/units/cronq.service"
cp "$EXAMPLES/../dist/cronq-commands.conf" "$work/units/cronq.service.d/"
expect 0 systemd-analyze verify --man=no "$work/units/cronq.service"
expect 0 systemd-analyze security --no-pager --offline=true --threshold=25 "$work/units/cronq.service"

"$NOTIFIED" "$work/notify" >"$work/told" &
children="$children $!"
within 30 test -S "$work/notify"

told() {
    grep -q "$1" "$work/told"
}
told_times() {
    [ "$(grep -c "$1" "$work/told")" -ge "$2" ]
}
start() {
    : >"$work/told"
    NOTIFY_SOCKET=$work/notify WATCHDOG_USEC=600000 "$CRONQ" "$@" >"$work/server.out" 2>"$work/server.err" &
    server=$!
    children="$children $server"
}
stops_with() {
    wait "$server"
    got=$?
    [ $got -eq "$1" ] || broken "the server ends with $1: $got: $(cat "$work/server.err")"
}
config() {
    cat >"$work/worker.yaml" <<YAML
Name: test
Log: {Encoding: plain}
WorkConf: {ShutdownTimeout: 20s, Queues: {default: 1$2}}
Tasks:
  - Pattern: write
    Command: [sh, -c, 'cat >>$work/written; echo $1 >>$work/written']
  - Pattern: sleep
    Command: [sh, -c, 'echo start >>$work/slept; exec sleep 60']
YAML
}
config one ''

# The store may come later: the service is ready, and its watchdog is told so.
start -u "redis-socket://$work/redis" server -f "$work/worker.yaml"
within 20 told 'READY=1'
within 20 told_times 'WATCHDOG=1' 2
redis
expect 0 "$CRONQ" -u "$uri" push write
within 20 grep -q one "$work/written"

# A store that hangs is no reason to end the service; a service that hangs says nothing.
worker=$(cut -d' ' -f1 "/proc/$server/task/$server/children")
kill -STOP "$worker"
sleep 0.3
before=$(wc -l <"$work/told")
sleep 1
same "$before" "$(wc -l <"$work/told")"
kill -CONT "$worker"
within 20 told_times 'WATCHDOG=1' $((before + 2))

# A file that is the same, one that is wrong, and two that fit only as far as they can be read.
kill -HUP "$server"
within 20 grep -q 'has not changed' "$work/server.err"
for bad in 'Name: [' 'Name: x
Tasks: [{Pattern: a, Command: ["{payload}"]}]' 'Name: x
Tasks: [{Pattern: a, Command: [a], Cron: "@daily", Queue: other}]'; do
    printf '%s\n' "$bad" >"$work/worker.yaml"
    : >"$work/server.err"
    kill -HUP "$server"
    within 20 grep -q 'the old configuration stays' "$work/server.err"
    grep -q 'worker.yaml:[12]:' "$work/server.err" || broken "it names the place: $(cat "$work/server.err")"
done
told 'RELOADING=1 MONOTONIC_USEC=[0-9]' || broken "it says that it reloads"
expect 0 "$CRONQ" -u "$uri" push write
within 20 test "$(grep -c one "$work/written")" -ge 1
kill -0 "$server" || broken "it lives on"

# A good one: the same process runs what it says, and serves its queues.
config two ', other: 1'
: >"$work/told"
kill -HUP "$server"
within 20 told 'READY=1'
expect 0 "$CRONQ" -u "$uri" push write --queue other
within 20 grep -q two "$work/written"
told 'STOPPING=1' && broken "a reload is no stop"

# What still runs may finish; with a second signal it need not.
expect 0 "$CRONQ" -u "$uri" push sleep
within 20 grep -q start "$work/slept"
kill -TERM "$server"
within 20 told 'STOPPING=1'
sleep 0.3
kill -0 "$server" || broken "it waits for the command"
kill -TERM "$server"
stops_with 0
expect 0 "$CRONQ" -u "$uri" stats --json default
same 1 "$(json queues 0 pending)"
same 0 "$(json queues 0 active)"

# Without a listener, or with a socket that is none, nothing is different.
export NOTIFY_SOCKET=/nonexistent/notify
expect 3 "$CRONQ" server -f "$work/missing.yaml"
expect 2 "$CRONQ" server

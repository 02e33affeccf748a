#!/bin/sh
# Two servers, a scheduler in each, and clients on one file, all of them processes of their
# own: each task runs once, a tick of the clock is one task, and a server that is killed is
# not missed.
. "${0%/*}/lib.sh"

PUSHES=40
TICKS=4
uri=sqlite:$work/cronq.db
CRONQ_URI=$uri
export CRONQ_URI

cat >"$work/worker.yaml" <<YAML
Name: test
Log: {Mode: file, Path: $work/log}
WorkConf: {Concurrency: 2}
Tasks:
  - Pattern: note
    Command: [sh, -c, 'echo "\$\$CRONQ_TASK_ID" >>$work/noted']
  - Pattern: tick
    Name: second
    Cron: '* * * * * *'
    Command: [sh, -c, 'echo "\$\$CRONQ_TASK_ID" >>$work/ticked']
YAML

start() {
    sed "s|$work/log|$work/log$1|" "$work/worker.yaml" >"$work/worker$1.yaml"
    "$CRONQ" server -f "$work/worker$1.yaml" 2>"$work/server$1.err" &
    eval "server$1=$!"
    children="$children $!"
}
lines() {
    wc -l <"$1" 2>/dev/null | tr -d ' '
}
at_least() {
    [ "$(lines "$1")" -ge "$2" ]
}

start 1
start 2
for i in $(seq $PUSHES); do
    expect 0 "$CRONQ" push note --id "task-$i"
done
within 30 at_least "$work/noted" $PUSHES
within 30 at_least "$work/ticked" $TICKS

# The one who is killed leaves a file that the other goes on with.
kill -KILL "$server1"
wait "$server1" 2>/dev/null
expect 0 "$CRONQ" push note --id after
within 30 grep -q after "$work/noted"
seen=$(lines "$work/ticked")
within 30 at_least "$work/ticked" $((seen + 2))
kill -TERM "$server2"
wait "$server2" || broken "the server ends with 0: $(cat "$work/server2.err" "$work"/log2/*)"

# Each of them once. A tick that the killed one had begun may have run again.
for i in $(seq $PUSHES); do
    echo "task-$i"
done | sort >"$work/wanted"
grep -v after "$work/noted" | sort | diff - "$work/wanted" >"$work/difference" ||
    broken "each task has run once: $(cat "$work/difference")"
doubles=$(sort "$work/ticked" | uniq -d | wc -l)
[ "$doubles" -le 1 ] || broken "a tick is one task: $(sort "$work/ticked" | uniq -d)"
first=$(sort "$work/ticked" | head -1) last=$(sort "$work/ticked" | tail -1)
missed=$((${last##*:} - ${first##*:} + 1 - $(sort -u "$work/ticked" | wc -l)))
[ $missed -le 1 ] || broken "no tick is left out: $missed of them"

expect 0 "$CRONQ" fsck

#!/bin/sh
# Every verb that looks at a store or repairs it, on both stores: what it prints, the same as
# JSON, an argument that is wrong, a queue that is not there, a stdout that is closed.
. "${0%/*}/lib.sh"

# The verbs change what they find: each of the three runs that may has a queue of its own.
seed() {
    for queue in "$@"; do
        for id in t arc run res upd can can2 del; do
            case $id in
            upd) set -- --in 1h ;;
            *) set -- ;;
            esac
            expect 0 "$CRONQ" push -q $queue --id $id "$@" kind:$id '{"a":1}'
        done
        expect 0 "$CRONQ" push -q $queue --id member --group g kind:group
    done
}

# A server with an entry, so that there is something to be seen of both.
serve() {
    cat >"$work/probe.yaml" <<YAML
Name: probe
WorkConf: {Concurrency: 2, Queues: {probe: 3}}
Tasks:
  - {Pattern: tick, Cron: "@every 1s", Command: ["true"], Name: ticker, Queue: probe}
YAML
    "$CRONQ" server -f "$work/probe.yaml" >"$work/probe.log" 2>&1 &
    server=$!
    children="$children $server"
    within 20 sh -c '"$0" cron history ticker && "$0" server ls | grep -q probe && "$0" cron ls | grep -q tick' "$CRONQ"
}

# verb | words (@: the queue) | a value of its JSON | words of what is not there | its exit code
table='push|-q @ kind:push x|id||
queue ls||0||
queue inspect|@|queues 0 paused_at_ms|none|5
queue history|@ -x 3|0 days 2 processed|none|5
queue pause|@|0||
queue resume|@|0|none|6
stats|@|queues 0 pending|none|5
fsck|@|found|none|5
task ls|-q @|tasks 0 id|-q none|5
task ls|-q @ --state aggregating --group g|tasks 0 group|-q none --state pending|5
task ls|-q @ --state pending --page 2 -n 2|tasks 1 retry_count|-q none --type x|5
task inspect|-q @ t|0 failures|-q @ none|5
task archive|-q @ arc|done|-q @ none|5
task archive|-q @ --type kind:run|done|-q none --all|5
task run|-q @ arc|done|-q none arc|5
task run|-q @ --state archived|done|-q none --all|5
task reschedule|-q @ res --in 1h|done|-q @ none --now|5
task reschedule|-q @ --id upd --at 2100-01-01T00:00:00Z|done|-q none --all --now|5
task update|-q @ upd other|done|-q @ none other|5
task cancel|-q @ can -y|done|-q @ none -y|5
cancel|-q @ --id can2 -y|done|-q none --all -y|5
task delete|-q @ del --yes|done|-q @ none --yes|5
task delete|-q @ --state pending --older 1ms --yes|done|-q none --all --yes|5
group ls|-q @|0 tasks|-q none|5
server ls||0 queues probe||
cron ls||0 next_at_ms||
cron history|ticker -n 1|0 task_id|none|5
queue rm|@ --force --yes|0|none --yes|5'

# call VERB WORDS QUEUE CODE [OPTION]
call() {
    # shellcheck disable=SC2046
    expect "$4" "$CRONQ" $1 $(printf %s "$2" | sed "s/@/$3/g") ${5:-}
}

check_wrong() {
    while IFS='|' read -r verb words value missing code; do
        call "$verb" "$words" normal 2 --nonsense
        same "" "$out"
        complains "usage: cronq $verb"
        # shellcheck disable=SC2046,SC2086
        expect 1 sh -c '"$0" "$@" >&-' "$CRONQ" $verb $(printf %s "$words" | sed s/@/closed/g)
        same "cronq: cannot write to stdout: Bad file descriptor" "$err"
        [ -n "$code" ] || continue
        call "$verb" "$missing" normal "$code"
        same "" "$out"
        call "$verb" "$missing" normal "$code" --json
        out=$(printf '%s\n' "$err" | head -1)
        [ -n "$(json error status)" ] || broken "the error is JSON"
    done <<TABLE
$table
TABLE
    # What closed its stdout was done all the same.
    expect 5 "$CRONQ" stats closed
}

check_right() {
    while IFS='|' read -r verb words value missing code; do
        call "$verb" "$words" normal 0
        [ -n "$out" ] || broken "$verb prints something"
        same "" "$err"
        call "$verb" "$words" json 0 --json
        # shellcheck disable=SC2086
        [ -n "$(json $value)" ] || broken "JSON of $verb has $value"
    done <<TABLE
$table
TABLE
}

run() {
    CRONQ_URI=$1
    export CRONQ_URI
    seed normal json
    serve
    check_right
    kill -TERM "$server"
    wait "$server" || broken "the server ends well"
}

run "sqlite:$work/tasks.db"
redis
run "$uri"
seed normal closed
check_wrong

# What doctor says is of the machine; that it can be read is not.
for option in "" --json; do
    # shellcheck disable=SC2086
    "$CRONQ" doctor $option >"$work/out" 2>"$work/err"
    code=$?
    out=$(cat "$work/out") err=$(cat "$work/err")
    [ $code -le 1 ] && [ -n "$out" ] && [ -z "$err" ] || broken "doctor says something ($code)"
done
[ "$out" = '[]' ] || [ -n "$(json 0 kind)" ] || broken "what doctor says is JSON"
expect 2 "$CRONQ" doctor --nonsense
expect 1 sh -c '"$0" doctor >&-' "$CRONQ"
expect 4 "$CRONQ" -u "redis-socket://$work/nobody" doctor

# Each task once, though it moves to a state that comes later: pending, scheduled, aggregating.
for number in 1 2 3; do
    expect 0 "$CRONQ" push -q moved kind x
done
expect 0 "$CRONQ" push -q moved --group g kind x
expect 0 "$CRONQ" task reschedule -q moved --all --in 1h --json
same 4 "$(json done)"
expect 0 "$CRONQ" task reschedule -q moved --all --now --json
same 4 "$(json done)"

# A disk that is full is named, however much is printed.
for words in 'config keys' man 'stats moved'; do
    # shellcheck disable=SC2086
    expect 1 sh -c '"$0" "$@" >/dev/full' "$CRONQ" $words
    same "cronq: cannot write to stdout: No space left on device" "$err"
done

# More of what is wrong.
while IFS='|' read -r words; do
    # shellcheck disable=SC2086
    expect 2 "$CRONQ" $words
    same "" "$out"
done <<'WORDS'
queue
queue inspect
queue history normal -x 0
queue history normal -x 91
queue rm normal
queue rm normal --force
task
task ls extra
task ls -s nonsense
task ls --page 2
task ls --page 0 -s pending
task ls -n 10001
task ls --older 5
task inspect
task delete
task delete t
task delete --all
task delete t --all --yes
task delete --state active --yes
task run --state pending
task run --state active
task archive --state completed
task cancel t
task cancel --waiting --state active --yes
task cancel --state archived --yes
task reschedule t
task reschedule t --in 5s --now
task reschedule --state active --now
task reschedule --state completed --now
task update t
task update t @/nonexistent
task ls -q {x}
task inspect -q {x} t
group ls -q {x}
server ls extra
server nonsense
cron history
cron history ticker -n 1001
WORDS
# A variable that is not set is not all tasks.
for option in --type --id --payload --group; do
    expect 2 "$CRONQ" task delete -q moved $option "" --yes
    complains "$option is empty"
done
for age in 0 0s 0h0m; do
    expect 2 "$CRONQ" task delete -q moved --older $age --yes
done
complains "--older is 0"
expect 2 "$CRONQ" task inspect -q mail " "
expect 2 "$CRONQ" queue pause " "

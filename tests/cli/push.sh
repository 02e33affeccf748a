#!/bin/sh
# cronq push, stats and queue on a real Redis.
. "${0%/*}/lib.sh"

# No store: one in the state directory. A wrong one, one that is not there.
expect 0 "$CRONQ" push some:task
expect 0 "$CRONQ" stats --json
same 1 "$(json queues 0 pending)"
test -f "$work/state/cronq/cronq.db" || broken "the state directory holds the store"
expect 2 "$CRONQ" -u nonsense://x push some:task
expect 2 "$CRONQ" -u "" push some:task
expect 2 sh -c '"$0" push some:task - <&-' "$CRONQ" # no payload is not an empty one
complains "cannot read standard input: Bad file descriptor"
expect 4 "$CRONQ" -u "redis-socket://$work/nobody" stats
complains "cronq stats: "

# No message shows a password.
while read -r code wrong; do
    expect "$code" "$CRONQ" -u "$wrong" push some:task
    complains "cronq push: "
    case $err in *secret*) broken "the password is not shown" ;; esac
done <<'URIS'
2 redis://:secret@[::1
2 redis://u:secret@h:99999
2 redis://u:secret@127.0.0.1:1/16x
2 redis://u:secret%zz@h
2 redis://u:secret/@h
2 redis-sentinel://:secret@h1,h2/0
4 rediss://u:secret@127.0.0.1:1
4 redis-sentinel://:secret@127.0.0.1:1/0?master=m
4 redis-cluster://:secret@h
URIS

redis
CRONQ_URI=$uri
export CRONQ_URI

expect 0 "$CRONQ" stats
same "no queues" "$out"
expect 0 "$CRONQ" stats --json
same "[]" "$(json queues)"
expect 0 "$CRONQ" queue ls
same "" "$out"

expect 2 "$CRONQ" -u "$uri?db=99" stats
complains "out of range"
expect 4 "$CRONQ" -u "redis-socket://:secret@$work/redis" stats
case $err in *secret*) broken "the password is not shown" ;; esac

# One task, every field.
expect 0 "$CRONQ" push email:welcome '{"user":42}'
says " pending"
expect 0 "$CRONQ" push --json --id one --queue mail --in 1h --timeout 90s --max-retry 3 \
    --retention 2h --header a=b --header "c=d e" -- email:welcome -dash
same one "$(json id)"
same email:welcome "$(json type)"
same mail "$(json queue)"
same scheduled "$(json state)"
same 3 "$(json max_retry)"
same 90000 "$(json timeout_ms)"
[ "$(json next_at_ms)" -gt 1700000000000 ] || broken "next_at_ms is an instant"
expect 0 "$CRONQ" push --json t --at 2100-01-01T00:00:00.5Z --max-retry 0 --deadline 2100-01-02T00:00:00Z
same 0 "$(json max_retry)"
same 4102531200000 "$(json deadline_at_ms)"
same 4102444801000 "$(json next_at_ms)"
expect 0 "$CRONQ" push --json --namespace shop order:paid
same "shop:order:paid" "$(json type)"
same shop "$(json queue)"
expect 0 "$CRONQ" push --json --namespace shop --queue other order:paid
same other "$(json queue)"

# Payloads: text, file, standard input, none; as they are.
printf 'a\0b\377' >"$work/payload"
redis-cli -s "$work/redis" hget 'asynq:{mail}:t:one' msg >"$work/msg"
grep -q -- -dash "$work/msg" || broken "the payload -dash was stored"
expect 0 "$CRONQ" push --id file t "@$work/payload"
expect 0 sh -c '"$0" push --id input t - <"$1"' "$CRONQ" "$work/payload"
for id in file input; do
    redis-cli --raw -s "$work/redis" hget "asynq:{default}:t:$id" msg >"$work/msg"
    LC_ALL=C grep -aqP 'a\x00b\xff' "$work/msg" || broken "the bytes of $id were stored"
done
expect 0 "$CRONQ" push t ""
expect 2 "$CRONQ" push t "@$work/missing"
complains "No such file"
expect 2 "$CRONQ" push t "@$work"
expect 2 sh -c 'head -c 1048577 /dev/zero | "$0" push t -' "$CRONQ"
complains "1048576"
expect 0 sh -c 'head -c 1048576 /dev/zero | "$0" push t - --queue big' "$CRONQ"

# Conflicts.
expect 6 "$CRONQ" push --id one --queue mail email:welcome
expect 0 "$CRONQ" push --unique 1m only:once x
expect 6 "$CRONQ" push --unique 1m only:once x --json
out=$err
same EDUP "$(json error status)"
expect 0 "$CRONQ" push --unique 1m only:once y

# What is refused, and that nothing of it was stored.
stored() { "$CRONQ" stats --json | sed 's/"latency_ms":[0-9]*//g'; }
stored >"$work/before"
while read -r words; do
    # shellcheck disable=SC2086
    expect 2 "$CRONQ" push $words
    same "" "$out"
done <<'WORDS'
t --in 5
t --in -5s
t --in 5s --at 2100-01-01T00:00:00Z
t --at tomorrow
t --timeout 99999999999h
t --max-retry -1
t --max-retry 2147483648
t --max-retry 1.5
t --unique 500ms
t --header novalue
t --header =x
t --header a=1 --header a=2
t --deadline 2001-01-01T00:00:00Z
t --queue {x}
t a b
WORDS
expect 2 "$CRONQ" push ""
expect 2 "$CRONQ" push " "
expect 2 "$CRONQ" push t --queue ""
expect 2 "$CRONQ" push t --id " "
expect 2 "$CRONQ" push "$(head -c 1025 /dev/zero | tr '\0' t)"
stored >"$work/after"
cmp -s "$work/before" "$work/after" || broken "nothing of what was refused is stored"

# Looking at it.
expect 0 "$CRONQ" stats mail --json
same mail "$(json queues 0 queue)"
same 1 "$(json queues 0 scheduled)"
same 0 "$(json queues 0 pending)"
same false "$(json queues 0 paused)"
for field in active retry archived completed aggregating groups processed_today \
    failed_today processed failed latency_ms; do
    same 0 "$(json queues 0 $field)"
done
expect 0 "$CRONQ" stats mail
says "QUEUE"
says "SCHEDULED"
expect 5 "$CRONQ" stats nothing
expect 0 "$CRONQ" queue ls
says "mail"
expect 0 "$CRONQ" queue ls --json
same big "$(json 0)"
expect 0 "$CRONQ" queue pause mail
expect 6 "$CRONQ" queue pause mail
expect 0 "$CRONQ" stats mail
says "paused"
expect 0 "$CRONQ" stats mail --json
same true "$(json queues 0 paused)"
# A terminal that is too narrow for the table, and colours only on a terminal.
expect 0 script -qec "stty cols 20; '$CRONQ' stats mail" /dev/null
says " scheduled 1"
says "[33mpaused"
expect 0 script -qec "stty cols 20; '$CRONQ' --no-color stats mail" /dev/null
case $out in *"[33m"*) broken "no colours with --no-color" ;; esac
expect 0 "$CRONQ" queue resume mail
expect 6 "$CRONQ" queue resume mail
# A queue may be paused before its first task.
expect 0 "$CRONQ" queue pause early
expect 0 "$CRONQ" push --queue early t
expect 0 "$CRONQ" stats early --json
same true "$(json queues 0 paused)"

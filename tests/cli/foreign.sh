#!/bin/sh
# What other programs wrote to the store neither takes over a terminal nor hides the rest: names
# that cronq refuses, ids with escape sequences. And what is interrupted, or half of it wrong.
. "${0%/*}/lib.sh"

redis
CRONQ_URI=$uri
export CRONQ_URI
escape=$(printf '\033')

store() {
    redis-cli -s "$work/redis" "$@" >/dev/null
}
tame() {
    case "$out$err" in *"$escape"*) broken "nothing that a terminal obeys" ;; esac
}

expect 0 "$CRONQ" push -q good kind x
for name in "ev$escape[31mil" "br{ace}" "" "$(printf %300s x)"; do
    store sadd asynq:queues "$name"
done
redis-cli -s "$work/redis" eval "redis.call('SADD', 'asynq:queues', '\255', 'good\0', 'two\nlines')" 0 >/dev/null

# Those names are left out of what looks at all queues, and doctor tells of them.
expect 0 "$CRONQ" queue ls
same good "$out"
expect 0 "$CRONQ" queue ls --json
same '["good"]' "$out"
expect 0 "$CRONQ" stats --json
same good "$(json queues 0 queue | tr -d '"')"
expect 0 "$CRONQ" fsck
says "1 queue, nothing found"
"$CRONQ" doctor >"$work/out" 2>"$work/err"
out=$(cat "$work/out") err=$(cat "$work/err")
tame
says 'name: queue "br{ace}" has a brace'
says 'name: queue "ev\x1b[31mil" has a control character'
expect 0 "$CRONQ" migrate --from "$uri" --to "sqlite:$work/moved.db" --yes
same "good: 1 task moved" "$out"

# Names that cronq takes, and that a terminal would obey: C1 controls, the direction of text.
turned=$(printf 'c1\302\233 \342\200\256turned')
expect 0 "$CRONQ" push -q "$turned" kind x
for words in 'queue ls' stats 'queue inspect' 'queue history' 'queue pause' 'queue rm --force --yes'; do
    case $words in
    'queue ls') set -- ;;
    *) set -- "$turned" ;;
    esac
    # shellcheck disable=SC2086
    expect 0 "$CRONQ" $words "$@"
    says "turned"
    case $out in *"$turned"*) broken "$words prints what a terminal obeys" ;; esac
done

# A name in an error or a question is tame too.
expect 0 "$CRONQ" push -q good kind x
for words in 'queue inspect' 'queue pause' 'queue rm --yes' fsck 'task ls -q'; do
    # shellcheck disable=SC2086
    expect 2 "$CRONQ" $words "ev$escape[31mil"
    tame
done
expect 2 "$CRONQ" queue rm "ev$escape[31mil"
tame
expect 2 "$CRONQ" task delete "ev$escape[31mil"
tame
expect 5 "$CRONQ" cron history "ev$escape[31mil"
tame

# Ids and groups in what fsck finds.
store hset "asynq:{good}:t:lost$escape[31m" msg x state pending
store lpush 'asynq:{good}:pending' "gone$escape[31m"
store zadd "asynq:{good}:g:group$escape[31m" 1 nobody
expect 1 "$CRONQ" fsck
says "gone"
says "lost"
tame
for words in fsck 'fsck --repair' 'stats' 'queue inspect good' 'task ls -q good' 'group ls -q good' 'queue rm good --force --yes'; do
    # shellcheck disable=SC2086
    "$CRONQ" $words >"$work/out" 2>"$work/err"
    out=$(cat "$work/out") err=$(cat "$work/err")
    tame
done

# Of several queues one is wrong: the others are shown all the same.
expect 0 "$CRONQ" push -q one kind x
for words in stats 'queue inspect' 'queue history'; do
    # shellcheck disable=SC2086
    expect 5 "$CRONQ" $words none one
    says one
    complains 'no queue "none"'
done
expect 5 "$CRONQ" stats none one --json
same one "$(json queues 0 queue | tr -d '"')"

# Interrupted within the first of two queues: the second is left alone.
cat >"$work/seed.lua" <<'LUA'
redis.call('SADD', 'asynq:queues', 'long')
for i = 1, 1200 do
    redis.call('HSET', KEYS[1] .. 't:' .. i, 'msg', '\10\1t\26\1x', 'state', 'pending')
    redis.call('LPUSH', KEYS[1] .. 'pending', i)
end
LUA
redis-cli -s "$work/redis" --eval "$work/seed.lua" 'asynq:{long}:' >/dev/null
redis_pid=${children##* }
kill -STOP "$redis_pid"
"$CRONQ" queue rm long one --force --yes >"$work/out" 2>"$work/err" &
remover=$!
children="$children $remover"
catches() { # its handler of SIGINT is in place
    [ $((0x$(awk '/SigCgt/ { print $2 }' "/proc/$remover/status") & 2)) -ne 0 ]
}
within 20 catches
kill -INT "$remover"
kill -CONT "$redis_pid"
wait "$remover"
same 1 "$?"
out=$(cat "$work/out") err=$(cat "$work/err")
complains "interrupted"
same "" "$out"
expect 0 "$CRONQ" stats long one --json
same 1 "$(json queues 1 pending)"

#!/bin/sh
# A long queue on Redis: no command blocks it for more than 50 ms (its SLOWLOG says), any page of
# task ls is there in time, and queue rm --force completes with a bar.
#
# 100,000 pending and 30,000 archived tasks and a second for a page; with CRONQ_FULL=1 ten times as
# many, and 100 ms.
. "${0%/*}/lib.sh"

if [ "${CRONQ_FULL:-}" = 1 ]; then
    pending=1000000 archived=300000 page_ms=100
else
    pending=100000 archived=30000 page_ms=1000
fi

# The messages differ in their ids, which are as long. KEYS: the prefix; ARGV: first, how many,
# letter of the ids, state.
cat >"$work/seed.lua" <<'LUA'
local p, first, count, letter, state = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]
redis.call('SADD', 'asynq:queues', 'big')
for i = first, first + count - 1 do
    local id = string.format('%s%07d', letter, i)
    local kind = i % 1000 == 0 and 'rare:' or 'many:'
    local msg = '\10\5' .. kind .. '\18\7{"n":1}\26\8' .. id .. '\34\3big\40\25\64\136\14'
    redis.call('HSET', p .. 't:' .. id, 'msg', msg, 'state', state)
    if state == 'pending' then
        redis.call('HSET', p .. 't:' .. id, 'pending_since', '1700000000000000000')
        redis.call('LPUSH', p .. 'pending', id)
    else
        redis.call('ZADD', p .. 'archived', 1700000000 + i, id)
    end
end
LUA

seed() {
    at=0
    while [ $at -lt "$1" ]; do
        redis-cli -s "$work/redis" --eval "$work/seed.lua" 'asynq:{big}:' , $at 10000 "$2" "$3" >/dev/null
        at=$((at + 10000))
    done
}

redis
CRONQ_URI=$uri
export CRONQ_URI
seed $pending p pending
seed $archived a archived
redis-cli -s "$work/redis" config set slowlog-log-slower-than 10000 >/dev/null
redis-cli -s "$work/redis" slowlog reset >/dev/null

# How many processes want each CPU: clocks count what one waits for its neighbours, too, and so
# often as much is allowed.
look_around() {
    crowd=$(awk -v cpus="$(nproc)" '{ n = $1 / cpus; if (n < 1) n = 1; print int(n + 0.999) }' /proc/loadavg)
}

not_slow() {
    look_around
    redis-cli -s "$work/redis" slowlog get 1000 >"$work/slow"
    worst=$(redis-cli -s "$work/redis" eval "$(cat "$work/worst.lua")" 0)
    [ "$worst" -le $((50000 * crowd)) ] || broken "$worst us, $crowd for a CPU: $* $(head -c 1000 "$work/slow")"
    [ "$worst" -le "$slowest" ] || slowest=$worst
}
cat >"$work/worst.lua" <<'LUA'
local worst = 0
for _, entry in ipairs(redis.call('SLOWLOG', 'GET', 1000)) do worst = math.max(worst, entry[3]) end
return worst
LUA
slowest=0
quick() {
    expect 0 "$@"
    not_slow "$@"
}

# In ms, on top of starting the program; again, up to twenty times, while it takes too long.
clock() {
    begun=$(date +%s%N)
    "$@"
    took=$((($(date +%s%N) - begun) / 1000000))
}
page() {
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        clock expect 0 "$CRONQ" version
        started=$took
        clock expect 0 "$CRONQ" task ls -q big "$@" --json
        look_around
        [ $((took - started)) -ge $((page_ms * crowd)) ] || break
    done
    echo "$((took - started)) ms: task ls $*"
    not_slow task ls "$@"
    [ $((took - started)) -lt $((page_ms * crowd)) ] || broken "a page within $page_ms ms: task ls $*"
}

quick "$CRONQ" stats --json
same $pending "$(json queues 0 pending)"
same $archived "$(json queues 0 archived)"
for state in pending archived; do
    eval last=\$$state
    for number in 1 $((last / 60)) $((last / 30)); do
        page --state $state --page $number
        [ -n "$(json tasks 29 id)" ] || broken "page $number of $state is full"
    done
done
page --state pending --size 500
page --state pending --type rare: --size 5
page

# By id, from the middle of what is long; by a filter; by a state.
middle=$(printf '%07d' $((pending / 2)))
quick "$CRONQ" task inspect -q big "p$middle"
quick "$CRONQ" task reschedule -q big "p$middle" --in 1h
quick "$CRONQ" task run -q big "p$middle"
quick "$CRONQ" task archive -q big "p$middle"
quick "$CRONQ" task delete -q big "p$middle" --yes
quick "$CRONQ" task delete -q big --state pending --type rare: --yes --json
same $((pending / 1000 - 1)) "$(json done)"
quick "$CRONQ" task run -q big --state archived --json
[ "$(json done)" -ge $((archived - 1)) ] || broken "all that were archived run"
quick "$CRONQ" task archive -q big --state pending --id a00 --json
quick "$CRONQ" queue history big -x 90
quick "$CRONQ" queue pause big
quick "$CRONQ" fsck big

# Long payloads are copied a few at a time, whatever is asked for.
cat >"$work/long.lua" <<'LUA'
local p, payload = KEYS[1], string.rep('x', 999936) -- its length is \128\132\61
redis.call('SADD', 'asynq:queues', 'long')
for i = 1, 60 do
    local msg = '\10\1t\18\128\132\61' .. payload .. '\26\3' .. (100 + i) .. '\34\4long\40\25\64\136\14'
    redis.call('HSET', p .. 't:' .. (100 + i), 'msg', msg, 'state', 'archived')
    redis.call('ZADD', p .. 'archived', 1700000000 + i, 100 + i)
end
LUA
redis-cli -s "$work/redis" --eval "$work/long.lua" 'asynq:{long}:' >/dev/null
redis-cli -s "$work/redis" slowlog reset >/dev/null
quick "$CRONQ" task ls -q long --state archived --size 60 --json
same 160 "$(json tasks 59 id)"
same 999936 "$(json tasks 59 payload | tr -d '\n' | wc -c)"
quick "$CRONQ" task ls -q long --state archived --payload y
says "no archived tasks"
quick "$CRONQ" fsck long
quick "$CRONQ" task reschedule -q long --state archived --type t --in 1h --json
same 60 "$(json done)"
quick "$CRONQ" task delete -q long --type t --yes --json
same 60 "$(json done)"

# Interrupted it has done a part and says so. (0: it was done before; 130: it had not begun.)
timeout --preserve-status -s INT 0.8 "$CRONQ" task delete -q big --state pending --yes >"$work/out" 2>"$work/err"
code=$?
out=$(cat "$work/out") err=$(cat "$work/err")
case $code in
0 | 130) ;;
1)
    complains "interrupted after "
    says "tasks deleted"
    ;;
*) broken "interrupted, not $code" ;;
esac
echo "interrupted: $code $err"

begun=$(date +%s)
expect 0 script -qec "'$CRONQ' queue rm big --force --yes" /dev/null
took=$(($(date +%s) - begun))
echo "$took s: queue rm"
if [ $took -gt 3 ]; then
    says "[#"
    says "% "
fi
says "big: removed"
not_slow queue rm
echo "$slowest us: the longest command"

#!/bin/sh
# cronq migrate: tasks in all states from the embedded store to Redis and back, with --json; a
# run that is killed is gone on with by the next; leave is needed.
. "${0%/*}/lib.sh"

file="sqlite:$work/from.db" back="sqlite:$work/back.db"
redis

# One task in each state but active, which moves as what it becomes.
cat >"$work/worker.yaml" <<YAML
Name: filler
WorkConf: {Concurrency: 2, Queues: {all: 1}}
Tasks:
  - {Pattern: good, Command: [echo, fine]}
  - {Pattern: bad, Command: ["false"]}
  - {Pattern: never, Command: [sh, -c, "exit 65"]}
YAML
export CRONQ_URI="$file"
expect 0 "$CRONQ" push -q all --id completed --retention 24h good
expect 0 "$CRONQ" push -q all --id retry bad
expect 0 "$CRONQ" push -q all --id archived never
expect 0 "$CRONQ" server -f "$work/worker.yaml" --drain
expect 0 "$CRONQ" push -q all --id scheduled --in 24h -H a=b good '{"n":1}'
expect 0 "$CRONQ" push -q all --id pending --unique 24h good only
expect 0 "$CRONQ" push -q all --id aggregating --group g good
expect 0 "$CRONQ" push -q other --id second good

# tell STORE [FIELD...]: what is told of a task in each state, a line each; all but since when it is
# pending. Times are whole seconds in Redis: they are told by name.
times="next_at_ms archived_at_ms completed_at_ms kept_until_at_ms"
tell() {
    store=$1
    shift
    for state in pending scheduled retry archived completed aggregating; do
        expect 0 "$CRONQ" -u "$store" task ls -q all -s $state --json
        same $state "$(json tasks 0 state)"
        for field in id group max_retry retry_count timeout_ms error headers payload result "$@"; do
            printf '%s ' "$(json tasks 0 "$field")"
        done
        echo
    done
}
tell "$file" >"$work/before"

# Wrong words, and no leave.
expect 2 "$CRONQ" migrate --yes
expect 2 "$CRONQ" migrate --from "$file" --yes
expect 2 "$CRONQ" migrate --from "$file" --to nonsense://x --yes
expect 2 "$CRONQ" migrate --from "$file" --to "$uri"
complains "--yes"
expect 2 "$CRONQ" migrate --from "$file" --to "$uri" --nonsense
expect 5 "$CRONQ" migrate --from "$file" --to "$uri" -q none --yes
expect 4 "$CRONQ" migrate --from "$file" --to "redis-socket://$work/nobody" --yes

# A file that is not there: nothing of it is made, by these or by whoever looks and repairs.
absent() {
    expect 5 "$CRONQ" "$@"
    complains "there is no database $work/${typo%/*}"
    if ls "$work"/typo* >/dev/null 2>&1; then
        broken "$*: nothing was made"
    fi
}
for typo in typo.db typo/from.db; do
    absent migrate --from "sqlite:$work/$typo" --to "$uri" --yes
    absent migrate --from "sqlite:$work/$typo" --to "sqlite:$work/typo2.db" -q all --yes
    for verb in stats "stats all" "queue ls" "queue pause all" fsck "fsck --repair" doctor \
        "task ls" "task delete --all --yes" "task reschedule --all --now" "server ls" "cron ls"; do
        # shellcheck disable=SC2086
        absent -u "sqlite:$work/$typo" $verb
    done
done
tell "$file" >"$work/still"
cmp "$work/before" "$work/still" || broken "what was refused changed nothing"

# There: one queue, then all, as JSON.
expect 0 "$CRONQ" migrate --from "$file" --to "$uri" -q other --yes
same "other: 1 task moved" "$out"
same "" "$err"
expect 0 "$CRONQ" migrate --from "$file" --to "$uri" --yes --json
same all "$(json 0 queue)"
same 6 "$(json 0 moved)"
tell "$uri" >"$work/there"
cmp "$work/before" "$work/there" || broken "$(diff "$work/before" "$work/there")"
expect 6 "$CRONQ" -u "$uri" push -q all --unique 24h good only
expect 0 "$CRONQ" -u "$uri" stats all --json
same false "$(json queues 0 paused)"
expect 0 "$CRONQ" -u "$file" stats all --json
same true "$(json queues 0 paused)"
same 0 "$(json queues 0 pending)"
expect 0 "$CRONQ" -u "$uri" fsck

# And back, to whoever does not read what is said of it.
# shellcheck disable=SC2086
tell "$uri" $times >"$work/there"
expect 1 sh -c '"$0" "$@" >&-' "$CRONQ" migrate --from "$uri" --to "$back" --yes
same "cronq: cannot write to stdout: Bad file descriptor" "$err"
# shellcheck disable=SC2086
tell "$back" $times >"$work/after"
cmp "$work/there" "$work/after" || broken "$(diff "$work/there" "$work/after")"
expect 6 "$CRONQ" -u "$back" push -q all --unique 24h good only
expect 0 "$CRONQ" -u "$back" fsck

# Killed again and again, nothing is lost and nothing is there twice.
count=20000
cat >"$work/seed.lua" <<'LUA'
redis.call('SADD', 'asynq:queues', 'many')
for i = 1, tonumber(ARGV[1]) do
    local id = string.format('id%06d', i)
    local msg = '\10\1t\26\8' .. id .. '\34\4many\40\25\64\136\14'
    redis.call('HSET', KEYS[1] .. 't:' .. id, 'msg', msg, 'state', 'pending')
    redis.call('LPUSH', KEYS[1] .. 'pending', id)
end
LUA
redis-cli -s "$work/redis" --eval "$work/seed.lua" 'asynq:{many}:' , $count >/dev/null
kills=0
while timeout -s KILL 0.7 "$CRONQ" migrate --from "$uri" --to "sqlite:$work/many.db" -q many --yes \
    >/dev/null 2>&1; code=$?; [ $code -eq 137 ] && [ $kills -lt 5 ]; do
    kills=$((kills + 1))
done
[ $code -eq 137 ] || [ $code -eq 0 ] || broken "killed or done, not $code"
expect 0 "$CRONQ" migrate --from "$uri" --to "sqlite:$work/many.db" -q many --yes
expect 0 "$CRONQ" -u "sqlite:$work/many.db" stats many --json
same $count "$(json queues 0 pending)"
expect 0 "$CRONQ" -u "$uri" stats many --json
same 0 "$(json queues 0 pending)"
expect 0 "$CRONQ" -u "sqlite:$work/many.db" fsck
expect 0 "$CRONQ" -u "$uri" fsck

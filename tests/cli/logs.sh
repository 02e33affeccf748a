#!/bin/sh
# What cronq server logs at its most talkative: no payload, no result, no password, nothing
# that drives a terminal; and every line is one JSON object.
. "${0%/*}/lib.sh"

redis-server --port 0 --unixsocket "$work/redis" --save '' --requirepass topS3CRET >"$work/redis.log" &
children="$children $!"
uri="redis-socket://:topS3CRET@$work/redis"
within 30 redis-cli -s "$work/redis" -a topS3CRET --no-auth-warning ping

cat >"$work/worker.yaml" <<YAML
Name: talkative
Log: {Mode: file, Path: $work/log, Level: debug, Encoding: json}
WorkConf: {Concurrency: 2, ShutdownTimeout: 1s, Retry: {Delay: fixed, Base: 1s}}
Telemetry: {Endpoint: "127.0.0.1:1", OtlpHeaders: {x-key: headerS3CRET}}
Tasks:
  - {Pattern: good, Command: [sh, -c, "echo resultS3CRET"], Env: {KEY: envS3CRET}}
  - {Pattern: bad, Command: [sh, -c, "exit 1"]}
  - {Pattern: loud, Command: [sh, -c, 'printf "\\\\033[2J\\\\377\\\\001 broken\\\\n" >&2; exit 65']}
YAML
expect 0 "$CRONQ" config check "$work/worker.yaml"
for type in good bad loud; do
    expect 0 "$CRONQ" push -u "$uri" --retention 1m --max-retry 1 "$type" payloadS3CRET
done
expect 0 "$CRONQ" push -u "$uri" --unique 1m good '{"password":"payloadS3CRET"}'
# A message that nobody can read, in the queue all the same.
redis-cli -s "$work/redis" -a topS3CRET --no-auth-warning eval "
    redis.call('HSET', 'asynq:{default}:t:odd', 'msg', 'payloadS3CRET', 'state', 'pending')
    return redis.call('LPUSH', 'asynq:{default}:pending', 'odd')" 0 >/dev/null
"$CRONQ" server -u "$uri" -f "$work/worker.yaml" >"$work/out" 2>"$work/err" &
worker=$!
children="$children $worker"

log=$work/log/cronq.log
# lines TEXT COUNT: so many lines have it.
lines() {
    [ "$(grep -cF -- "$1" "$log")" -ge "$2" ]
}
within 20 lines '"type":"bad"' 2
within 20 lines '"type":"loud"' 1
within 20 lines 'odd' 1
completed() {
    [ "$(redis-cli -s "$work/redis" -a topS3CRET --no-auth-warning zcard 'asynq:{default}:completed')" = 1 ]
}
within 20 completed
kill -TERM "$worker"
wait "$worker" || broken "the worker ends well"

for part in S3CRET; do
    ! grep -rF -- "$part" "$work/log" || broken "no line has $part"
    out=$(cat "$work/out" "$work/err")
    case $out in *$part*) broken "nothing printed has $part" ;; esac
done
! LC_ALL=C grep -n "$(printf '[\001-\010\013-\037\177]')" "$log" || broken "no control characters"
iconv -f UTF-8 -t UTF-8 <"$log" >/dev/null || broken "the log is UTF-8"
while read -r line; do
    printf '%s\n' "$line" | "$JSON_GET" content >/dev/null || broken "a line is JSON: $line"
done <"$log"

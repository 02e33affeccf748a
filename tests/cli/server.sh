#!/bin/sh
# cronq server and cronq config check: files, stores, signals.
. "${0%/*}/lib.sh"

expect 2 "$CRONQ" server
complains "--file"
expect 3 "$CRONQ" server -f "$work/missing.yaml"
complains "missing.yaml"
expect 3 "$CRONQ" config check "$work/missing.yaml"
expect 2 "$CRONQ" config
mkfifo "$work/pipe"
expect 3 timeout 20 "$CRONQ" config check "$work/pipe" # nobody writes to it
complains "no regular file"
expect 2 "$CRONQ" config check

expect 0 "$CRONQ" config keys
says "Tasks[].Pattern (text"
expect 0 "$CRONQ" config keys --json
same Name "$(json 0 key)"

# All errors of a file at once.
cat >"$work/bad.yaml" <<'YAML'
Name: bad
WorkConf:
  Adr: 127.0.0.1:6379
  Concurrency: ten
Tasks:
  - Command: [echo]
YAML
expect 3 "$CRONQ" config check "$work/bad.yaml"
complains "bad.yaml:3:"
complains "Addr"
complains "bad.yaml:4:"
complains "Pattern"
expect 3 "$CRONQ" config check "$work/bad.yaml" --json
same false "$(json ok)"
case $(json errors 0) in *bad.yaml:3:*) ;; *) broken "errors have a line" ;; esac
expect 3 "$CRONQ" server -f "$work/bad.yaml"
complains "bad.yaml:4:"

cat >"$work/worker.yaml" <<YAML
Name: test
Log: {Mode: file, Path: $work/log}
WorkConf:
  Concurrency: 2
  ShutdownTimeout: 2s
Tasks:
  - Pattern: write
    Command: [sh, -c, 'cat >>$work/written']
  - Pattern: sleep
    Command: [sh, -c, 'echo start >>$work/slept; sleep "\$\$(cat)"; echo end >>$work/slept']
  - Pattern: mask
    Command: [sh, -c, 'grep -E "^Sig(Ign|Blk)" /proc/self/status >$work/mask']
YAML
expect 0 "$CRONQ" config check "$work/worker.yaml"
says "ok"
expect 0 "$CRONQ" config check "$work/worker.yaml" --json
same true "$(json ok)"
expect 0 "$CRONQ" push write "without a store"
expect 0 "$CRONQ" server -f "$work/worker.yaml" --drain
same "without a store" "$(cat "$work/written")"
rm "$work/written"

redis
# A file that does not fit: the queue of an entry is not served.
cat >"$work/unserved.yaml" <<YAML
Name: test
Tasks:
  - {Pattern: x, Command: [true], Cron: '* * * * *', Queue: other}
YAML
expect 3 "$CRONQ" -u "$uri" server -f "$work/unserved.yaml"
complains "other"

start() {
    "$CRONQ" "$@" >"$work/server.out" 2>"$work/server.err" &
    server=$!
    children="$children $server"
}
stops_with() {
    wait "$server"
    got=$?
    [ $got -eq "$1" ] || broken "the server ends with $1: $got: $(cat "$work/server.err" "$work"/log/*)"
}

# -u wins over the file, the file over the environment.
sed "s|^WorkConf:|&\n  Network: unix\n  Addr: $work/redis\n  DB: 1|" "$work/worker.yaml" >"$work/db1.yaml"
expect 0 "$CRONQ" -u "$uri?db=1" push write one
CRONQ_URI="redis-socket://$work/nobody" expect 0 "$CRONQ" server -f "$work/db1.yaml" --drain
same one "$(cat "$work/written")"
expect 0 "$CRONQ" -u "$uri" push write two
expect 0 "$CRONQ" -u "$uri" server -f "$work/db1.yaml" --drain
same onetwo "$(cat "$work/written")"
CRONQ_URI=$uri
export CRONQ_URI

# Drain: all that could run now has run.
for i in 1 2 3 4 5 6 7 8 9; do
    expect 0 "$CRONQ" push write "$i"
done
expect 0 "$CRONQ" push write later --in 1h
expect 0 "$CRONQ" server -f "$work/worker.yaml" --drain
same 15 "$(wc -c <"$work/written" | tr -d ' ')"
expect 0 "$CRONQ" stats --json default
same 0 "$(json queues 0 pending)"
same 1 "$(json queues 0 scheduled)"

# A drain that is told to stop gives back what it has not finished.
expect 0 "$CRONQ" push sleep 30
start server -f "$work/worker.yaml" --drain
within 30 grep -q start "$work/slept"
kill -TERM "$server"
stops_with 1
grep -q "stopped before" "$work/server.err" || broken "it says why: $(cat "$work/server.err")"
expect 0 "$CRONQ" stats --json default
same 1 "$(json queues 0 pending)"
same 0 "$(json queues 0 active)"
redis-cli -s "$work/redis" flushall >/dev/null
rm "$work/slept"

# Commands get signals as a shell would have them.
expect 0 "$CRONQ" push mask
expect 0 "$CRONQ" server -f "$work/worker.yaml" --drain
grep -q '^SigBlk:.0*$' "$work/mask" || broken "no signal is blocked: $(cat "$work/mask")"
grep -q '^SigIgn:.*[02468ace]...$' "$work/mask" || broken "SIGPIPE is not ignored: $(cat "$work/mask")"

# TERM: what runs may finish, what waits is left.
start server -f "$work/worker.yaml"
expect 0 "$CRONQ" push sleep 1
within 30 grep -q start "$work/slept"
kill -TERM "$server"
stops_with 0
same "start end" "$(tr '\n' ' ' <"$work/slept" | sed 's/ $//')"

# TERM with more patience asked than there is: given back, nothing lost.
start server -f "$work/worker.yaml"
expect 0 "$CRONQ" push sleep 30 --max-retry 0
within 30 sh -c 'test $(grep -c start "$0") -eq 2' "$work/slept"
kill -INT "$server"
wait "$server"
expect 0 "$CRONQ" stats --json default
same 1 "$(json queues 0 pending)"
same 0 "$(json queues 0 active)"
redis-cli -s "$work/redis" flushall >/dev/null

# TSTP: nothing new is taken, and the server stays.
start server -f "$work/worker.yaml"
expect 0 "$CRONQ" push write a
within 30 grep -q a "$work/written"
kill -TSTP "$server"
within 30 grep -q quiet "$work/log/cronq.log"
expect 0 "$CRONQ" push write b
sleep 0.5
expect 0 "$CRONQ" stats --json default
same 1 "$(json queues 0 pending)"

# HUP: the log goes on in a new file.
mv "$work/log/cronq.log" "$work/log/old"
kill -HUP "$server"
within 30 grep -q . "$work/log/cronq.log"
kill -TERM "$server"
stops_with 0

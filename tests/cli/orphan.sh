#!/bin/sh
# orphan.sh - the supervisor is killed: its worker ends by itself, its commands with all that
# they started end too, and what ran is given back.
. "${0%/*}/lib.sh"

cat >"$work/worker.yaml" <<YAML
Name: test
Log: {Mode: file, Path: $work/log}
WorkConf:
  Concurrency: 2
  ShutdownTimeout: 1s
Tasks:
  - Pattern: stubborn
    Command: [sh, -c, 'trap "" TERM; setsid sleep 301.$$ & echo \$\$\$\$ >>$work/shells; sleep 301.$$; sleep 301.$$']
YAML
uri="sqlite:$work/cronq.db"
expect 0 "$CRONQ" -u "$uri" push stubborn --id one --timeout 5m
"$CRONQ" -u "$uri" server -f "$work/worker.yaml" &
supervisor=$!
children="$children $supervisor"
within 20 test -s "$work/shells"
within 20 pgrep -f "^sleep 301.$$\$"
worker=$(pgrep -P "$supervisor" | head -n 1)
kill -KILL "$supervisor"

gone() {
    ! kill -0 "$1"
}
none_sleeps() {
    ! pgrep -f "^sleep 301.$$\$"
}
within 20 gone "$worker"
within 20 gone "$(cat "$work/shells")"
within 20 none_sleeps

# Given back, and not charged.
expect 0 "$CRONQ" -u "$uri" --json task inspect one -q default
same pending "$(json 0 state)"
same 0 "$(json 0 retry_count)"

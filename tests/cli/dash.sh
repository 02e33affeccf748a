#!/bin/sh
# cronq dash in a real terminal: keys go in through tmux, the screen comes out of it.
. "${0%/*}/lib.sh"

# No terminal, or none that is known.
expect 2 "$CRONQ" dash -u "sqlite:$work/db" </dev/null
complains "terminal"
expect 2 "$CRONQ" dash -u "sqlite:$work/db" --json
expect 2 "$CRONQ" dash -u "sqlite:$work/db" --interval 1ms

term() {
    tmux -f /dev/null -S "$work/tmux" "$@"
}
# dash URI: on a screen of 100 columns and 24 lines; its exit code goes to the file code.
dash() {
    rm -f "$work/code"
    term new-session -d -x 100 -y 24 -s dash \
        "TERM=screen-256color LC_ALL=C.UTF-8 '$CRONQ' dash -u '$1' -i 200ms 2>'$work/err'; echo \$? >'$work/code'; sleep 60"
    term set-option -g status off
    children="$children $(term display-message -p '#{pid}')"
}
keys() {
    term send-keys -t dash "$@"
}
shows() {
    term capture-pane -p -t dash >"$work/screen"
    grep -qF -- "$1" "$work/screen"
}
lacks() {
    ! shows "$1"
}
sees() {
    within 20 shows "$1"
}
# A broken test shows the screen that it saw.
broken() {
    printf '%s\n' "not so: $*" "--- screen"
    cat "$work/screen" 2>/dev/null
    exit 1
}
ends() {
    within 30 test -s "$work/code"
    [ "$(cat "$work/code")" -eq "$1" ] || broken "it ends with $1: $(cat "$work/code" "$work/err")"
    term kill-server
}

all_pages() {
    expect 0 "$CRONQ" push -u "$1" --id first --queue mail mail:send '{"to":["ann","bob"],"n":0.10}'
    expect 0 "$CRONQ" push -u "$1" --id evil --queue mail evil "$(printf 'a\033[2Jb\007c')"
    expect 0 "$CRONQ" push -u "$1" --id later --in 1h --queue mail mail:late 'größer 日本'
    expect 0 "$CRONQ" push -u "$1" --id sleeper --queue work sleep 60
    expect 0 "$CRONQ" push -u "$1" --id breaker --queue work break x
    cat >"$work/worker.yaml" <<YAML
Name: watched
WorkConf: {Concurrency: 4, Queues: {work: 3}, ShutdownTimeout: 500ms}
Tasks:
  - {Pattern: sleep, Command: [sleep, "60"]}
  - {Pattern: break, Command: [sh, -c, "echo it broke >&2; exit 1"]}
  - {Pattern: tick, Name: ticker, Cron: "0 0 1 1 *", Queue: work, Command: ["true"]}
YAML
    "$CRONQ" server -u "$1" -f "$work/worker.yaml" >"$work/server.log" 2>&1 &
    worker=$!
    children="$children $worker"

    dash "$1"
    sees "cronq  queues"
    sees "mail"
    sees "FAILED/S"
    # The bars: something was processed in one of the intervals.
    for number in 1 2 3; do
        expect 0 "$CRONQ" push -u "$1" --queue work break "$number"
    done
    sees "█"

    keys p
    sees "pause mail: done"
    sees "|| mail"
    "$CRONQ" stats -u "$1" mail >"$work/stats"
    grep -q paused "$work/stats" || broken "the queue is paused"
    keys p
    sees "resume mail: done"
    within 30 lacks "|| mail"

    keys Enter
    sees "queue mail, pending"
    sees "first"
    sees "a^[[2Jb^Gc"
    keys Enter
    sees "mail, task first"
    sees '  "to": ['
    sees '"n": 0.10'
    keys v
    sees '{"to":["ann","bob"],"n":0.10}'
    keys v v
    sees "00000000  7b 22 74 6f"
    keys Escape
    sees "queue mail, pending"

    # What destroys is asked about.
    keys Down
    keys d
    sees "delete evil? y/n"
    keys n
    sees "evil"
    keys d
    sees "delete evil? y/n"
    keys y
    sees "delete evil: done"
    within 30 lacks "a^[[2Jb^Gc"
    keys Up a y
    sees "archive first: done"
    keys Right Right
    sees "größer 日本"
    keys r
    sees "run later: done"
    keys Right Right
    sees "queue mail, archived"
    sees "first"
    keys r
    sees "run first: done"
    keys r # not there any more: said, or nothing is selected
    keys 2
    sees "work:3"
    sees "sleep"
    keys 3
    sees "0 0 1 1 *"
    sees "ticker"
    sees "in "

    # Its errors.
    keys 1
    sees PENDING
    keys Down Enter
    sees "queue work, pending"
    keys Right Right Right
    sees "queue work, retry"
    sees "breaker"
    sees "it broke"
    keys Enter
    sees "errors      attempt 1, "
    sees "ago on "
    keys Escape

    # Stop a running task.
    keys 2
    sees sleeper
    keys Down c
    sees "cancel sleeper? y/n"
    keys y
    sees "cancel sleeper: done"
    within 20 lacks "work sleeper"
    kill -TERM "$worker"
    wait "$worker"
    keys q
    ends 0
}

paging() {
    for number in $(seq 100 159); do
        expect 0 "$CRONQ" push -u "$1" --id "id$number" --queue pages many "$number"
    done
    dash "$1"
    sees pages
    keys Down Down Down Enter
    sees "queue pages, pending, 1-19 of 60"
    sees "id118"
    lacks "id119" || broken "one page"
    keys NPage
    sees "20-38 of 60"
    sees "id119"
    keys PPage
    sees "1-19 of 60"
    keys NPage NPage NPage NPage
    sees "58-60 of 60"
    sees "id159"

    # Any size of terminal.
    term resize-window -t dash -x 60 -y 12
    sees "id159"
    term resize-window -t dash -x 20 -y 5
    sees "too small"
    keys q
    ends 0
}

all_pages "sqlite:$work/db"
redis
redis_pid=${children##* }
redis-cli -s "$work/redis" sadd asynq:queues 'a{name}' "$(printf 'a\033[2J')" >/dev/null # of others
all_pages "$uri"
redis-cli -s "$work/redis" flushall >/dev/null
expect 0 "$CRONQ" push -u "$uri" --queue a x
expect 0 "$CRONQ" push -u "$uri" --queue b x
expect 0 "$CRONQ" push -u "$uri" --queue c x
paging "$uri"

# A store that is lost is said to be, nothing hangs, and it goes on when it is back.
dash "$uri"
sees "pages"
kill -STOP "$redis_pid"
sees "no answer from the store"
sees "pages"
keys 3
sees "cron entries"
keys 1
kill -CONT "$redis_pid"
within 20 lacks "no answer from the store"
sees "pages"
term kill-server

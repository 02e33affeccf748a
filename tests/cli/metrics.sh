#!/bin/sh
# cronq server with DevServer: promtool accepts its metrics, and a Prometheus that scrapes it
# counts what was done.
. "${0%/*}/lib.sh"

redis
port=$(free_port)
prometheus_port=$(free_port)
cat >"$work/worker.yaml" <<YAML
Name: measured
WorkConf: {Concurrency: 4, ShutdownTimeout: 1s}
DevServer: {Port: $port}
Telemetry: {Endpoint: "127.0.0.1:$prometheus_port"} # which takes no traces
Tasks:
  - {Pattern: good, Command: ["true"]}
  - {Pattern: slow, Command: [sleep, "60"]}
  - {Pattern: bad, Command: [sh, -c, "exit 1"]}
  - {Pattern: never, Command: [sh, -c, "exit 65"]}
  - {Pattern: tick, Cron: "@every 1s", Command: ["true"], Name: ticker}
YAML
: >"$work/log"
JOURNAL_STREAM=$(stat -c %d:%i "$work/log") "$CRONQ" server -u "$uri" -f "$work/worker.yaml" 2>"$work/log" &
worker=$!
children="$children $worker"
page="http://127.0.0.1:$port"
within 60 curl -fsS "$page/readyz"

expect 0 curl -fsS "$page/"
same /metrics "$(json 3)"
expect 0 curl -fsS "$page/healthz"
says OK

cat >"$work/prometheus.yaml" <<YAML
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: cronq
    static_configs: [{targets: ["127.0.0.1:$port"]}]
YAML
prometheus --config.file="$work/prometheus.yaml" --storage.tsdb.path="$work/series" \
    --web.listen-address="127.0.0.1:$prometheus_port" --log.level=error &
children="$children $!"

push() {
    count=$2
    while [ "$count" -gt 0 ]; do
        expect 0 "$CRONQ" push -u "$uri" "$1" x
        count=$((count - 1))
    done
}
push good 40
push bad 7
push never 3
for number in 1 2 3 4 5; do
    expect 0 "$CRONQ" push -u "$uri" --in 1h "good" "later $number"
done

# ask EXPRESSION VALUE: Prometheus says so. The bad ones run again after 15 s, which a slow machine may see.
ask() {
    promtool query instant "http://127.0.0.1:$prometheus_port" "$1" | grep -q "=> $2 @"
}
within 60 ask 'sum(cron_consume_total{task_type="good",status="success"})' 40
within 60 ask 'sum(cron_server_consume_total{task_type="bad",status="fail"}) >= bool 7' 1
within 60 ask 'sum(cron_consume_total{task_type="never",status="skip_retry"})' 3
within 60 ask 'sum(cron_consume_duration_ms_count{task_type="good"})' 40
within 60 ask 'sum(cron_server_retry_total{task_type="bad"}) >= bool 7' 1
within 60 ask 'asynq_tasks_enqueued_total{queue="default",state="scheduled"}' 5
within 60 ask 'asynq_tasks_enqueued_total{queue="default",state="retry"}' 7
within 60 ask 'asynq_tasks_enqueued_total{queue="default",state="archived"}' 3
within 60 ask 'cron_server_scheduler_registered' 1
within 60 ask 'sum(cron_server_scheduler_trigger_total{task_type="tick"}) > bool 1' 1
within 60 ask 'sum(cronq_schedule_lateness_seconds_count) > bool 1' 1
within 60 ask 'sum(cronq_pickup_latency_seconds_count) > bool 9' 1
within 60 ask 'cronq_store_up' 1
within 60 ask 'asynq_queue_memory_usage_approx_bytes{queue="default"} > bool 1000' 1
expect 0 "$CRONQ" push -u "$uri" --id stopped slow x
within 60 ask 'sum(cron_active_workers{task_type="slow"})' 1
expect 0 "$CRONQ" cancel -u "$uri" -q default --yes stopped
within 60 ask 'sum(cronq_cancelled_tasks_total)' 1
within 60 ask 'cronq_spans_dropped_total > bool 50' 1
within 60 ask 'up{job="cronq"}' 1
within 60 ask 'process_start_time_seconds > bool 1500000000' 1

# Names that others have given may be complained about, ours not.
curl -fsS "$page/metrics" >"$work/page"
promtool check metrics <"$work/page" >"$work/lint" 2>&1
code=$?
case $code in 0 | 3) ;; *) out=$(cat "$work/lint") broken "promtool reads the metrics ($code)" ;; esac
! grep -Ev '^(asynq|cron)_' "$work/lint" || broken "promtool finds nothing in our own names"
curl -fsS -H 'Accept: application/openmetrics-text' "$page/metrics" | tail -1 >"$work/last"
same '# EOF' "$(cat "$work/last")"

# Without its store it lives, and is not ready.
redis_pid=${children# }
redis_pid=${redis_pid%% *}
kill -STOP "$redis_pid"
expect 22 curl -fsS -m 9 "$page/readyz"
expect 0 curl -fsS -m 2 "$page/healthz"
kill -CONT "$redis_pid"
within 60 curl -fsS "$page/readyz"

# Its lines go to what JOURNAL_STREAM names, with levels.
grep -q '^<6>{"@timestamp"' "$work/log" || broken "lines have journald's levels"
! grep -qv '^<[3467]>' "$work/log" || broken "every line has one"

kill -TSTP "$worker"
within 30 sh -c "curl -sS '$page/readyz' | grep -q draining"
kill -TERM "$worker"
wait "$worker" || broken "the worker ends well: $(cat "$work/log")"

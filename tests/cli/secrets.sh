#!/bin/sh
# Passwords are in no output: not in messages, logs, metrics or reports, and not in the
# list of processes but where they were given as arguments.
. "${0%/*}/lib.sh"

canary=C4nary-of-this-test
redis
redis-cli -s "$work/redis" acl setuser good on ">$canary" '~*' '&*' +@all >/dev/null
port=$(free_port)
server_port=$(free_port)
redis-cli -s "$work/redis" config set port $server_port >/dev/null

silent() {
    ! grep -rq "$canary" "$@" || broken "the password is in: $(grep -rl "$canary" "$@")"
}

# Right and wrong passwords, in each place that takes one, for each kind of command.
for user in good nobody; do
    for where in 127.0.0.1:$server_port 127.0.0.1:1; do
        case $where in *:1) commands='stats doctor' ;; *) commands='stats push fsck doctor' ;; esac
        for command in $commands; do
            [ $command = push ] && command='push t'
            # shellcheck disable=SC2086
            CRONQ_URI="redis://$user:$canary@$where" "$CRONQ" $command >>"$work/said" 2>&1
            "$CRONQ" -u "redis://$user:$canary@$where" $command >>"$work/said" 2>&1
        done
    done
    for uri in "redis://$user:$canary@:x" "redis://$user:$canary@h/zz" "redi://$user:$canary@h" \
        "redis-sentinel://$user:$canary@127.0.0.1:1"; do
        "$CRONQ" -u "$uri" stats >>"$work/said" 2>&1
    done
done
[ -s "$work/said" ] || broken "commands said something"
silent "$work/said"

# A server with the password in its file, with metrics; then the password is changed.
mkdir "$work/logs"
cat >"$work/worker.yaml" <<YAML
Name: careful
WorkConf:
  Addr: 127.0.0.1:$server_port
  Username: good
  Password: \${CANARY}
  ShutdownTimeout: 1s
DevServer: {Port: $port}
Tasks:
  - {Pattern: t, Command: ["true"]}
YAML
CANARY=$canary "$CRONQ" config check "$work/worker.yaml" >"$work/logs/check" 2>&1
CANARY=$canary "$CRONQ" server -f "$work/worker.yaml" >"$work/logs/server" 2>&1 &
server=$!
children="$children $server"
within 30 curl -sf "http://127.0.0.1:$port/readyz"
redis-cli -s "$work/redis" acl setuser good resetpass '>other' >/dev/null
redis-cli -s "$work/redis" client kill type normal skipme yes >/dev/null
within 30 grep -q WRONGPASS "$work/logs/server"
for page in metrics healthz readyz; do
    curl -s "http://127.0.0.1:$port/$page" >>"$work/logs/pages"
done
tr '\0' ' ' <"/proc/$server/cmdline" >"$work/logs/cmdline"
kill -TERM $server
wait $server
silent "$work/logs"
exit 0

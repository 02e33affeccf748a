#!/bin/sh
# The program without a store: help, usage errors, what becomes of its output.
. "${0%/*}/lib.sh"

expect 0 "$CRONQ" version
says "cronq 0."
expect 0 "$CRONQ" --version
says "cronq 0."
expect 0 "$CRONQ" version --json
same "cronq $(json version)" "$("$CRONQ" version)"

# Help, of each command that is listed, and of verbs below commands.
expect 0 "$CRONQ" --help
same "" "$err"
for verb in $("$CRONQ" --help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
    expect 0 "$CRONQ" "$verb" --help
    says "usage: cronq $verb"
    expect 0 "$CRONQ" help "$verb"
    says "usage: cronq $verb"
done
expect 2 "$CRONQ" help nothing

# Usage errors: nothing on stdout.
for words in "" "nonsense" "version extra" "--nonsense version" "version --uri" \
    "version -x" "version --json=1" "completion" "completion fish"; do
    # shellcheck disable=SC2086
    expect 2 "$CRONQ" $words
    same "" "$out"
    complains "usage: cronq"
done
expect 2 "$CRONQ" nonsense
complains 'unknown command "nonsense"'
expect 2 "$CRONQ" version --uri
complains "--uri needs a value: URI"
expect 2 "$CRONQ" nonsense --json
out=$err
same USAGE "$(json error status)"

# Arguments that are not text are named.
bad=$(printf 'a\377b')
expect 2 "$CRONQ" version "$bad"
complains "argument 2 is not UTF-8"
big=$(head -c 100000 /dev/zero | tr '\0' x)
expect 2 "$CRONQ" "$big"
expect 2 "$CRONQ" version -- --json
complains 'unexpected argument "--json"'
expect 2 "$CRONQ" ""
complains 'unknown command ""'

# Output that goes nowhere is a failure that is said, without noise when the reader has left.
for words in "--help" "version" "version --json" "completion bash" "completion zsh" "man" "config keys" \
    "cron next @daily" "cron next @daily --json"; do
    # shellcheck disable=SC2086
    expect 1 sh -c '"$0" "$@" >&-' "$CRONQ" $words
    same "cronq: cannot write to stdout: Bad file descriptor" "$err"
done
expect 1 sh -c '"$0" --help >/dev/full' "$CRONQ"
complains "No space left on device"
expect 0 sh -c '"$0" version 2>&-' "$CRONQ"
expect 0 sh -c '"$0" version <&-' "$CRONQ"
{
    sleep 0.3
    "$CRONQ" --help 2>"$work/complaint"
    echo $? >"$work/code"
} | true
same 1 "$(cat "$work/code")"
same "" "$(cat "$work/complaint")"

# What is generated.
for shell in bash zsh; do
    expect 0 "$CRONQ" completion $shell
    says "complete -F _cronq"
done
# WORDS, the last of which is being completed | what it may be.
if command -v bash >/dev/null; then
    "$CRONQ" completion bash >"$work/completion"
    while IFS="|" read -r words may; do
        # shellcheck disable=SC2086
        expect 0 bash -c '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _cronq; echo "${COMPREPLY[*]}"' bash "$work/completion" $words
        same "$may" "$out"
    done <<'WORDS'
cronq ver|version
cronq --no|--no-color
cronq task re|reschedule
cronq task ls --state a|active archived aggregating
cronq task ls -s p|pending
cronq task ls --state = p|pending
cronq task ls --state =|active pending scheduled retry archived completed aggregating
cronq task cancel -w --wa|--waiting
cronq bench latency -w --wa|
cronq task delete --state archived --ye|--yes
cronq server l|ls
cronq server --dr|--drain
cronq completion z|zsh
cronq queue rm --fo|--force
WORDS
fi
# The same in zsh, on a terminal: sourced, and as a file in fpath, whose first call loads it.
cat >"$work/complete.zsh" <<'ZSH'
zmodload zsh/zpty
zpty shell 'TERM=dumb zsh -f -i'
zpty -w shell "unset zle_bracketed_paste; PS1=; PATH=$1:\$PATH; $2"
zpty -w shell 'echo rea""dy'
zpty -r -m shell line '*ready*'
zpty -w -n shell "$3"$'\t'
zpty -r -m shell line "*$4*"
ZSH
mkdir "$work/site"
"$CRONQ" completion zsh >"$work/site/_cronq"
for start in "autoload -Uz compinit; compinit -u -D; source <(cronq completion zsh)" \
    "fpath=($work/site \$fpath); autoload -Uz compinit; compinit -u -D"; do
    while IFS="|" read -r words may; do
        expect 0 timeout 30 zsh -f "$work/complete.zsh" "${CRONQ%/*}" "$start" "$words" "$may"
    done <<'WORDS'
cronq ver|cronq version
cronq task re|cronq task reschedule
cronq server --dr|cronq server --drain
cronq bench throughput -w 3 --pay|cronq bench throughput -w 3 --payload
WORDS
done
expect 0 "$CRONQ" man
says ".TH CRONQ 1"

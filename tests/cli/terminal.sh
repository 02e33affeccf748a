#!/bin/sh
# The program before a person: widths, colours, questions. A pseudo terminal stands in for theirs.
. "${0%/*}/lib.sh"

CRONQ_URI="sqlite:$work/tasks.db"
export CRONQ_URI
escape=$(printf '\033')

expect 0 "$CRONQ" push -q mail --id 00000000-0000-4000-8000-000000000001 email:welcome \
    'a long payload that has to be cut where a terminal ends, which is soon'
expect 0 "$CRONQ" push -q mail --id two "$(printf 'wide:\346\274\242\345\255\227')" x
printf 'bell\007 escape\033[31m \377' >"$work/evil"
expect 0 "$CRONQ" push -q mail --id evil t "@$work/evil"
expect 0 "$CRONQ" task archive -q mail evil

# on COLUMNS COMMAND...: its output there, lines as they are.
on() {
    expect 0 script -qec "stty cols $1; $2" /dev/null
    out=$(printf '%s\n' "$out" | tr -d '\r')
}
# What a terminal shows of it is no wider.
fits() {
    widest=$(printf '%s\n' "$out" | sed "s/$escape\[[0-9]*m//g" | LC_ALL=C.UTF-8 wc -L)
    [ "$widest" -le "$1" ] || broken "$widest columns of $1"
}

for columns in 120 100 80 70 60; do
    on $columns "'$CRONQ' task ls -q mail"
    fits $columns
    says "00000000-0000-4000-8000-000000000001"
done
on 100 "'$CRONQ' task ls -q mail"
says "ID  "
says "…"
on 30 "NO_COLOR=1 '$CRONQ' task ls -q mail"
says " state archived"
same "" "$(printf '%s\n' "$out" | grep '^ID ')"
for columns in 80 40 20; do
    on $columns "'$CRONQ' stats; '$CRONQ' queue history mail; '$CRONQ' server ls"
done

on 80 "'$CRONQ' stats"
fits 80
says "QUEUE  PENDING"

# No terminal: nothing is cut, and nothing is coloured.
expect 0 "$CRONQ" task ls -q mail
says "which is soon"
case $out in *"$escape"*) broken "nothing that a terminal obeys" ;; esac
expect 0 "$CRONQ" task inspect -q mail evil
case $out in *"$escape"* | *"$(printf '\007')"*) broken "nothing that a terminal obeys" ;; esac
says "[31m"
says "not text"
printf 'two lines' >"$work/bare" && printf 'two lines\n' >"$work/ended"
for payload in bare ended; do
    expect 0 "$CRONQ" push -q lines --id $payload kind "@$work/$payload"
    expect 0 "$CRONQ" task inspect -q lines $payload
    same "two lines" "$(printf '%s\n' "$out" | tail -n 1)"
    expect 0 "$CRONQ" task delete -q lines --id $payload --yes
done

# Colours.
on 100 "'$CRONQ' task ls -q mail"
says "$escape[31marchived$escape[0m"
on 100 "NO_COLOR=1 '$CRONQ' task ls -q mail"
case $out in *"$escape"*) broken "no colours with NO_COLOR" ;; esac
on 100 "'$CRONQ' task ls -q mail --no-color"
case $out in *"$escape"*) broken "no colours with --no-color" ;; esac

# Questions: no answer, no, yes; without a terminal none is asked.
expect 2 sh -c 'echo y | "$0" task delete -q mail two' "$CRONQ"
complains "--yes"
for answer in "" n Y yess; do
    expect 1 sh -c "echo $answer | script -qec \"'$CRONQ' task delete -q mail two\" /dev/null"
    says 'delete the task "two" of queue mail? [y/N]'
    says "nothing was done"
    expect 0 "$CRONQ" task inspect -q mail two
done
expect 2 script -qec "'$CRONQ' task delete -q mail two --json" /dev/null
expect 0 sh -c "echo y | script -qec \"'$CRONQ' task delete -q mail two\" /dev/null"
says "1 task deleted"
expect 5 "$CRONQ" task inspect -q mail two
expect 1 sh -c "echo n | script -qec \"'$CRONQ' task delete -q mail --all --type email:\" /dev/null"
says "delete all tasks of queue mail that fit?"
expect 0 sh -c "echo yes | script -qec \"'$CRONQ' queue rm mail --force\" /dev/null"
says "remove the queue mail, with all its tasks?"
says "mail: removed"
expect 5 "$CRONQ" stats mail

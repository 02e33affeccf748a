#!/bin/sh
# bench.sh - short measurements, their limits ten times looser than `make bench` shows.
. "$(dirname "$0")/../cli/lib.sh"

# at_most LIMIT VALUE WHAT
at_most() {
    awk -v value="$2" -v limit="$1" 'BEGIN { exit !(value <= limit) }' ||
        broken "$3 is at most $1 (it was $2)"
    echo "$3: $2 (at most $1)"
}

redis
expect 0 "$CRONQ" -u "$uri" --json bench latency --count 100 --due 8
at_most 10 "$(json pick_up p50 median)" 'pick-up by an idle worker, median in ms'
at_most 50 "$(json pick_up p99 median)" 'pick-up by an idle worker, p99 in ms'
at_most 500 "$(json due max median)" 'start of a due task after its second, ms'
at_most 10 "$(json idle cpu median)" 'idle worker, % of a core'

expect 0 "$CRONQ" -u "$uri" --json bench throughput --rounds 1 --tasks 20000 --only process
ratio=$(json process cronq ratio median)
awk -v ratio="$ratio" 'BEGIN { exit !(ratio >= 0.06) }' ||
    broken "the throughput is 0.06 of the bare loop's or more (it was $ratio)"
echo "throughput beside the bare loop: $ratio (at least 0.06)"

expect 0 "$CRONQ" -u "$uri" --json bench throughput --rounds 1 --tasks 20000 --only observed
for row in on silent gone; do
    ratio=$(json observed $row ratio median)
    awk -v ratio="$ratio" 'BEGIN { exit !(ratio >= 0.09) }' ||
        broken "being watched costs little, $row (the ratio was $ratio)"
    echo "throughput while watched, $row: $ratio (at least 0.09)"
done

expect 0 "$CRONQ" -u "$uri" --json queue ls
same '[]' "$out"
expect 2 "$CRONQ" -u "$uri" bench throughput --rounds 0
expect 4 "$CRONQ" -u redis://127.0.0.1:1 bench latency --count 1 --due 0

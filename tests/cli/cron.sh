#!/bin/sh
# cronq cron: activation times, and verdicts on files of expressions.
. "${0%/*}/lib.sh"

from=2026-03-28T00:00:00Z

expect 0 "$CRONQ" cron next '30 2 * * *' --from $from --tz Europe/Berlin -n 3
same "2026-03-28T02:30:00+01:00
2026-03-30T02:30:00+02:00
2026-03-31T02:30:00+02:00" "$out"
same "" "$err"
expect 0 "$CRONQ" cron next '* * * * *' --from $from --tz UTC
same 10 "$(printf '%s\n' "$out" | wc -l | tr -d ' ')"

# Seconds first, a fraction of --from, and a year that nanoseconds do not reach.
expect 0 "$CRONQ" cron next '15 * * * * *' --from 2026-01-01T00:00:14.999999999Z --tz UTC -n 1
same "2026-01-01T00:00:15Z" "$out"
expect 0 "$CRONQ" cron next '0 0 1 * *' --from 9998-11-01T00:00:00Z --tz UTC -n 1
same "9998-12-01T00:00:00Z" "$out"

# Times are shown in --tz, else in the zone of the expression.
expect 0 "$CRONQ" cron next 'TZ=Asia/Tokyo 0 0 * * *' --from $from -n 1
same "2026-03-29T00:00:00+09:00" "$out"
expect 0 "$CRONQ" cron next 'TZ=Asia/Tokyo 0 0 * * *' --from $from --tz UTC -n 1
same "2026-03-28T15:00:00Z" "$out"

expect 0 "$CRONQ" cron next '@every 90s' --from $from --tz UTC -n 2 --json
same "@every 90s" "$(json spec)"
same "2026-03-28T00:03:00Z" "$(json next 1)"
same 1774656090 "$(json next_unix 0)"
same false "$(json exhausted)"

# There may be no more times.
expect 0 "$CRONQ" cron next '0 0 30 2 *' --from $from
same "" "$out"
complains "no time within five years"
expect 0 "$CRONQ" cron next '0 0 29 2 *' --from 2095-12-31T23:59:59Z --tz UTC --json
same "2096-02-29T00:00:00Z" "$(json next 0)"
same true "$(json exhausted)"

# Where clocks are set back by no full hour, the answer of the reference, and a word of it.
expect 0 "$CRONQ" cron next '50 3 * * *' --from 2026-04-04T12:00:00+13:45 --tz Pacific/Chatham -n 2
same "2026-04-05T02:50:00+12:45
2026-04-05T02:50:00+12:45" "$out"
complains "clocks are set back"

expect 2 "$CRONQ" cron next '60 * * * *'
complains 'minute, column 1: 60 in "60" is not within 0 and 59'
expect 2 "$CRONQ" cron next '* * * * *' --tz Bad/Zone
complains 'unknown time zone "Bad/Zone"'
expect 2 "$CRONQ" cron next '* * * * *' --from yesterday
complains '--from: "yesterday" is not a time'
for number in 0 -1 100001 x; do
    expect 2 "$CRONQ" cron next '* * * * *' -n $number
done
expect 2 "$CRONQ" cron next
expect 2 "$CRONQ" cron next '*' '*' '*' '*' '*'
expect 2 "$CRONQ" cron

# Files: a verdict a line.
printf '# of the night\n\n  # and more\n0 3 * * *\n@daily\r\n0 0 30 2 *' >"$work/good"
expect 0 "$CRONQ" cron check "$work/good"
same "4: ok
5: ok
6: ok, but there is no time within five years" "$out"
printf '* * * * *\n* * * * 7\n\0@daily\n\377\n' >"$work/bad"
expect 3 "$CRONQ" cron check "$work/bad"
same '1: ok
2: day of week, column 9: 7 in "7" is not within 0 and 6 or sun to sat
3: there is a NUL byte in it
4: cron expression, column 2: 1 field, not 5 or 6 (second, minute, hour, day of month, month, day of week)' "$out"
expect 3 sh -c '"$1" cron check - --json <"$2"' sh "$CRONQ" "$work/bad"
out=$(printf '%s\n' "$out" | sed -n 2p)
same 2 "$(json line)"
same false "$(json ok)"
expect 0 "$CRONQ" cron check /dev/null
same "" "$out"
expect 2 "$CRONQ" cron check "$work/none"
complains "No such file or directory"
expect 2 "$CRONQ" cron check "$work"
complains "Is a directory"
head -c 17000000 /dev/zero >"$work/large"
expect 2 "$CRONQ" cron check "$work/large"
complains "too large"

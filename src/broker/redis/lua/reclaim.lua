-- reclaim: gives the tasks of stale aggregation sets back to their groups.
-- KEYS  the queue's prefix; ARGV  now (s), at most
-- Returns how many sets.
local call, p = redis.call, KEYS[1]
local sets = call('ZRANGEBYSCORE', p .. 'aggregation_sets', '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
call('SCARD', p .. 'groups')
for _, set in ipairs(sets) do
    local head = p .. 'g:'
    local group = string.sub(set, #head + 1, -38)
    if string.sub(set, 1, #head) == head and call('EXISTS', set) == 1 then
        call('ZUNIONSTORE', head .. group, 2, head .. group, set, 'AGGREGATE', 'MIN')
        call('SADD', p .. 'groups', group)
        call('UNLINK', set)
    end
    call('ZREM', p .. 'aggregation_sets', set)
end
return #sets

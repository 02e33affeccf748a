-- take_group: moves the oldest tasks of a group that is due to an aggregation set.
-- KEYS  the queue's prefix
-- ARGV  group, set's id, now (s), grace (s), max delay (s, 0 none), max size (0 none), at
--       most, the set's deadline (s)
-- Returns how many.
local call, p = redis.call, KEYS[1]
local key, now = p .. 'g:' .. ARGV[1], tonumber(ARGV[3])
local grace, delay, size = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local set, most, n = key .. ':' .. ARGV[2], tonumber(ARGV[7]), call('ZCARD', key)

local function end_of(rank)
    return tonumber(call('ZRANGE', key, rank, rank, 'WITHSCORES')[2])
end

if n == 0 then return 0 end
call('SCARD', p .. 'groups')
call('ZCARD', p .. 'aggregation_sets')
if not ((size > 0 and n >= size) or (delay > 0 and now - end_of(0) >= delay) or
        now - end_of(-1) >= grace) then
    return 0
end
if size > 0 then most = math.min(most, size) end
local tasks = call('ZRANGE', key, 0, most - 1, 'WITHSCORES')
for first = 1, #tasks, 2000 do
    local pairs = {}
    for i = first, math.min(first + 1999, #tasks), 2 do
        pairs[#pairs + 1], pairs[#pairs + 2] = tasks[i + 1], tasks[i]
    end
    call('ZADD', set, unpack(pairs))
end
call('ZREMRANGEBYRANK', key, 0, #tasks / 2 - 1)
if call('EXISTS', key) == 0 then call('SREM', p .. 'groups', ARGV[1]) end
call('ZADD', p .. 'aggregation_sets', ARGV[8], set)
return #tasks / 2

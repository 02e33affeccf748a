-- group_counts: names of groups that hold tasks, and how many.
-- KEYS  the queue's prefix; ARGV  cursor
-- Returns the next cursor ("0": that was all), a name and a number in turn.
local p = KEYS[1]
local page = redis.call('SSCAN', p .. 'groups', ARGV[1], 'COUNT', 500)
local out = {page[1]}
for _, group in ipairs(page[2]) do
    local n = redis.pcall('ZCARD', p .. 'g:' .. group)
    if type(n) == 'number' and n > 0 then
        out[#out + 1], out[#out + 2] = group, n
    end
end
return out

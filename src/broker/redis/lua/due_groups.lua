-- due_groups: names of groups that are due.
-- KEYS  the queue's prefix
-- ARGV  cursor, now (s), grace (s), max delay (s, 0 none), max size (0 none)
-- Returns the next cursor ("0": that was all) and names.
local p, now = KEYS[1], tonumber(ARGV[2])
local grace, delay, size = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local page = redis.call('SSCAN', p .. 'groups', ARGV[1], 'COUNT', 500)
local out = {page[1]}

local function end_of(key, rank)
    return tonumber(redis.call('ZRANGE', key, rank, rank, 'WITHSCORES')[2])
end

for _, group in ipairs(page[2]) do
    local key = p .. 'g:' .. group
    local n = redis.pcall('ZCARD', key)
    if type(n) == 'number' and n > 0 and
        ((size > 0 and n >= size) or (delay > 0 and now - end_of(key, 0) >= delay) or
         now - end_of(key, -1) >= grace) then
        out[#out + 1] = group
    end
end
return out

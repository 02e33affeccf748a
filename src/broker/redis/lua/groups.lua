-- groups: puts names back into groups that hold tasks, and forgets those that are over.
-- KEYS  the queue's prefix; ARGV  now (s), first name, at most
-- Returns how many names were looked at, how many of them forgotten, how many put back.
local p, index = KEYS[1], KEYS[1] .. 'cronq:groups'
local page = redis.call('ZRANGE', index, ARGV[2], ARGV[2] + ARGV[3] - 1, 'WITHSCORES')
local forgotten, back = 0, 0
for i = 1, #page, 2 do
    local name = page[i]
    local held = redis.pcall('ZCARD', p .. 'g:' .. name)
    if type(held) == 'number' and held > 0 then
        back = back + redis.call('SADD', p .. 'groups', name)
    elseif tonumber(page[i + 1]) < tonumber(ARGV[1]) then
        redis.call('ZREM', index, name)
        forgotten = forgotten + 1
    end
end
return {#page / 2, forgotten, back}

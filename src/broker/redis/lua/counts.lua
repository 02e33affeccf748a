-- counts: the sizes of a queue's parts; a part of the wrong type counts nothing.
-- KEYS  the queue's prefix; ARGV  date, groups looked into at most
-- Returns pending, active, scheduled, retry, archived, completed, aggregating, groups,
-- processed today, failed today, processed, failed, paused (or nil), pending_since (or nil)
local try, p = redis.pcall, KEYS[1]

local function size(command, name)
    local n = try(command, p .. name)
    return type(n) == 'number' and n or 0
end

local function text(name)
    local value = try('GET', p .. name)
    return type(value) == 'string' and value or false
end

-- Of very many groups a sample stands for all.
local function aggregating(groups)
    local names, sum = try('SRANDMEMBER', p .. 'groups', ARGV[2]), 0
    if names.err or #names == 0 then return 0 end
    for i = 1, #names do sum = sum + size('ZCARD', 'g:' .. names[i]) end
    return math.floor(sum * groups / #names + 0.5)
end

local groups = size('SCARD', 'groups')
local oldest = try('LINDEX', p .. 'pending', -1)
local since = type(oldest) == 'string' and try('HGET', p .. 't:' .. oldest, 'pending_since')
return {
    size('LLEN', 'pending'), size('LLEN', 'active'), size('ZCARD', 'scheduled'),
    size('ZCARD', 'retry'), size('ZCARD', 'archived'), size('ZCARD', 'completed'),
    aggregating(groups), groups, text('processed:' .. ARGV[1]), text('failed:' .. ARGV[1]),
    text('processed'), text('failed'), text('paused'),
    type(since) == 'string' and since or false,
}

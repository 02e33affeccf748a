-- counts: the sizes of a queue's parts; a part of the wrong type counts nothing.
-- KEYS  the queue's prefix; ARGV  date, groups looked into at most (0: aggregating is not
-- counted), tasks weighed of each part
-- Returns pending, active, scheduled, retry, archived, completed, aggregating, groups,
-- processed today, failed today, processed, failed, paused (or nil), pending_since (or nil), memory
local try, p = redis.pcall, KEYS[1]

local function size(command, name)
    local n = try(command, p .. name)
    return type(n) == 'number' and n or 0
end

local function text(name)
    local value = try('GET', p .. name)
    return type(value) == 'string' and value or false
end

-- Bytes, as far as they are told: not every user may ask.
local function weight(name)
    local n = try('MEMORY', 'USAGE', p .. name)
    return type(n) == 'number' and n or 0
end

-- Of a part and its tasks, of which a few stand for all.
local function heavy(name, count, range)
    local ids, sum = count > 0 and try(range, p .. name, 0, ARGV[3] - 1) or {}, 0
    if ids.err or #ids == 0 then return 0 end
    for i = 1, #ids do sum = sum + weight('t:' .. ids[i]) end
    return weight(name) + sum * count / #ids
end

-- Of very many groups a sample stands for all, and of these one is weighed.
local function aggregating(groups)
    if ARGV[2] == '0' then return 0, 0 end
    local names, sum = try('SRANDMEMBER', p .. 'groups', ARGV[2]), 0
    if names.err or #names == 0 then return 0, 0 end
    for i = 1, #names do sum = sum + size('ZCARD', 'g:' .. names[i]) end
    local count = math.floor(sum * groups / #names + 0.5)
    local one = size('ZCARD', 'g:' .. names[1])
    return count, one > 0 and heavy('g:' .. names[1], one, 'ZRANGE') * count / one or 0
end

local groups = size('SCARD', 'groups')
local grouped, memory = aggregating(groups)
local sizes = {}
for i, name in ipairs({ 'pending', 'active', 'scheduled', 'retry', 'archived', 'completed' }) do
    sizes[i] = size(i < 3 and 'LLEN' or 'ZCARD', name)
    memory = memory + heavy(name, sizes[i], i < 3 and 'LRANGE' or 'ZRANGE')
end
local oldest = try('LINDEX', p .. 'pending', -1)
local since = type(oldest) == 'string' and try('HGET', p .. 't:' .. oldest, 'pending_since')
return {
    sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6],
    grouped, groups, text('processed:' .. ARGV[1]), text('failed:' .. ARGV[1]),
    text('processed'), text('failed'), text('paused'),
    type(since) == 'string' and since or false, math.floor(memory),
}

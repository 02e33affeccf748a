-- browse: a window of a queue's keys, or of one of its lists or sorted sets. Reads only.
-- KEYS  the queue's prefix
-- ARGV  keys, list or zset; its name; cursor; at most; keys: the pattern, zset: now (s)
-- Returns the next cursor ("0": that was all), then in turn: kind (t task, i id, l lock,
-- g group, s aggregation set), name, state, note (x odd: look closer, w not a hash, m its
-- message is too long for a window, else empty), message
local call, try = redis.call, redis.pcall
local p, name, limit = KEYS[1], ARGV[2], tonumber(ARGV[4])
local ROOM, DAY = 2097152, 86400
local ZSETS = {'scheduled', 'retry', 'archived', 'completed'}
local out, room = {'0'}, ROOM

local function row(kind, id, state, odd, message)
    local n = #out
    out[n + 1], out[n + 2], out[n + 3] = kind, id, state or ''
    out[n + 4], out[n + 5] = odd and (odd == true and 'x' or odd) or '', message or ''
end

local function score(key, id)
    local s = try('ZSCORE', p .. key, id)
    return type(s) == 'string' and s
end

-- Is it in the sorted set of its state, and in no other? Lists are not looked into.
local function at_odds(id, state, group)
    local place, n = state, 0
    for i = 1, 4 do
        if score(ZSETS[i], id) then place, n = ZSETS[i], n + 1 end
    end
    if group and group ~= '' and score('g:' .. group, id) then
        place, n = 'aggregating', n + 1
    end
    if state == 'pending' then return n > 0 or score('lease', id) end
    if state == 'active' then return n > 0 or not score('lease', id) end
    return n ~= 1 or place ~= state or score('lease', id)
end

local function task(id)
    local key = p .. 't:' .. id
    local kind = call('TYPE', key).ok
    if kind == 'none' then return end
    if kind ~= 'hash' then return row('t', id, '', 'w') end
    local size = call('HSTRLEN', key, 'msg')
    local fields = call('HMGET', key, 'state', 'group')
    local odd = (size == 0 or at_odds(id, fields[1], fields[2])) and true
    if size > room then return row('t', id, fields[1], odd or 'm') end
    room = room - size
    row('t', id, fields[1], odd, call('HGET', key, 'msg'))
end

local function group(id)
    local key = p .. 'g:' .. id
    local listed = try('SISMEMBER', p .. 'groups', id) == 1
    row('g', id, '', call('TYPE', key).ok ~= 'zset' or
        not (listed or score('aggregation_sets', key)))
end

local function lock(id)
    local holder = try('GET', p .. id)
    row('l', id, '', type(holder) ~= 'string' or call('EXISTS', p .. 't:' .. holder) == 0)
end

local function keys()
    local page = call('SCAN', ARGV[3], 'MATCH', ARGV[5], 'COUNT', limit)
    out[1] = page[1]
    for _, key in ipairs(page[2]) do
        local rest = string.sub(key, #p + 1)
        if string.sub(rest, 1, 2) == 't:' then task(string.sub(rest, 3)) end
        if string.sub(rest, 1, 2) == 'g:' then group(string.sub(rest, 3)) end
        if string.sub(rest, 1, 7) == 'unique:' then lock(rest) end
    end
end

local function is_in(group, place)
    group = group and group ~= '' and 'g:' .. group
    return group == place or group and string.sub(place, 1, #group + 1) == group .. ':'
end

local function member(id, at)
    if name == 'aggregation_sets' then return row('s', id, '', call('EXISTS', id) == 0) end
    local odd = try('HEXISTS', p .. 't:' .. id, 'msg') ~= 1
    if string.sub(name, 1, 2) == 'g:' then
        odd = odd or not is_in(call('HGET', p .. 't:' .. id, 'group'), name)
    end
    if at then
        odd = odd or at == 'inf' or at == '-inf'
        if name == 'lease' then odd = odd or tonumber(at) > tonumber(ARGV[5]) + DAY end
    end
    row('i', id, '', odd and true)
end

local function list()
    if call('TYPE', p .. name).ok ~= 'list' then return end
    local page = call('LRANGE', p .. name, ARGV[3], ARGV[3] + limit - 1)
    if #page > 0 then out[1] = string.format('%d', ARGV[3] + #page) end
    for _, id in ipairs(page) do member(id) end
end

local function zset()
    if call('TYPE', p .. name).ok ~= 'zset' then return end
    local page = call('ZSCAN', p .. name, ARGV[3], 'COUNT', limit)
    out[1] = page[1]
    for i = 1, #page[2], 2 do member(page[2][i], page[2][i + 1]) end
end

({keys = keys, list = list, zset = zset})[ARGV[1]]()
return out

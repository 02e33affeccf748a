-- records: tasks as they are stored.
-- KEYS  the queue's prefix
-- ARGV  the container's name ("pending", "g:GROUP", …; "" for ids), is it a list (1 or 0),
--       offset, at most, in full (1 or 0); or "" and ids
-- Returns for each: id, state, message, score (nil: none), pending_since, group, result,
-- cronq_cancel, and in full cronq_failures and raw; state nil: no such task; state "later":
-- its bytes are more than a script may copy in one go, ask again by its id.
local p, out, n = KEYS[1], {}, 0
local room = 2097152
local SETS = {
    scheduled = 'scheduled', retry = 'retry', archived = 'archived', completed = 'completed',
    active = 'lease',
}

local full = ARGV[1] == '' or ARGV[5] == '1'

local function ids()
    local from, offset, most = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
    if from == '' then
        local named = {}
        for i = 2, #ARGV do named[#named + 1] = ARGV[i] end
        return named
    end
    if ARGV[2] == '0' then return redis.call('ZRANGE', p .. from, offset, offset + most - 1) end
    local page = redis.call('LRANGE', p .. from, -offset - most, -offset - 1)
    for i = 1, math.floor(#page / 2) do
        page[i], page[#page - i + 1] = page[#page - i + 1], page[i]
    end
    return page
end

local function later(id)
    out[n + 1], out[n + 2] = id, 'later'
    for i = 3, 10 do out[n + i] = false end
    n = n + 10
end

local function row(id)
    local fields = redis.pcall('HMGET', p .. 't:' .. id, 'state', 'msg', 'pending_since', 'group',
                               'result', 'cronq_cancel', full and 'cronq_failures' or 'cronq_cancel',
                               full and 'raw' or 'cronq_cancel')
    if fields.err then fields = {} end
    local state, score = fields[1], false
    local set = SETS[state]
    if state == 'aggregating' and fields[4] then set = 'g:' .. fields[4] end
    if set then score = redis.pcall('ZSCORE', p .. set, id) end
    if type(score) ~= 'string' then score = false end
    out[n + 1], out[n + 2], out[n + 3], out[n + 4] = id, state or false, fields[2] or false, score
    out[n + 5], out[n + 6] = fields[3] or false, fields[4] or false
    out[n + 7], out[n + 8] = fields[5] or false, fields[6] or false
    out[n + 9], out[n + 10] = full and fields[7] or false, full and fields[8] or false
    room = room - #(fields[2] or '') - #(fields[5] or '') - #(out[n + 9] or '')
    room = room - #(out[n + 10] or '')
    n = n + 10
end

for _, id in ipairs(ids()) do
    if room > 0 then row(id) else later(id) end
end
return out

-- act: deletes, withdraws, runs or archives tasks.
-- KEYS  the queue's prefix
-- ARGV  action (d, w, r, a), now (s), now (ns), archive's size, archive's oldest (s), offset
--       in pending where the first was seen (or ""), how far behind it the others are, ids
-- Returns for each: "ok", "none", "merging", or the state that does not allow it.
local p, action, now, now_ns = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local offset, reach = tonumber(ARGV[6]), tonumber(ARGV[7])
local REFUSED = {
    d = {active = true},
    w = {active = true, archived = true, completed = true},
    r = {active = true, pending = true},
    a = {active = true, archived = true, completed = true},
}
local SETS = {scheduled = true, retry = true, archived = true, completed = true}
local from_pending, archived = {}, false

call('LLEN', p .. 'pending')
call('ZCARD', p .. 'archived')
call('SCARD', p .. 'groups')

-- What stands in for those that go must be no id. They are sought from the end that is nearer.
local function drop_pending(ids)
    local left, dropped = {}, 0
    for i = 1, #ids do left[ids[i]] = true end
    if offset then
        local page = call('LRANGE', p .. 'pending', -offset - reach, -offset - 1)
        local top = -offset - #page
        for i = 1, #page do
            if left[page[i]] then
                call('LSET', p .. 'pending', top + i - 1, '')
                left[page[i]], dropped = nil, dropped + 1
            end
        end
        if dropped > 0 then
            local from_tail = offset < call('LLEN', p .. 'pending') / 2
            call('LREM', p .. 'pending', from_tail and -dropped or dropped, '')
        end
    end
    for id in pairs(left) do call('LREM', p .. 'pending', -1, id) end
end

-- Off the list of its state; false when it is being merged.
local function take_out(id, key, state)
    if state == 'pending' then
        from_pending[#from_pending + 1] = id
    elseif SETS[state] then
        call('ZREM', p .. state, id)
    elseif state == 'aggregating' then
        local group = try('HGET', key, 'group')
        if not group then return true end
        if call('ZREM', p .. 'g:' .. group, id) == 0 then return false end
        if call('ZCARD', p .. 'g:' .. group) == 0 then call('SREM', p .. 'groups', group) end
    end
    return true
end

local PUT = {
    d = function(id, key)
        free_lock_of(p, key, id)
        call('UNLINK', key)
    end,
    r = function(id, key)
        call('HSET', key, 'state', 'pending', 'pending_since', now_ns)
        call('HDEL', key, 'result', 'cronq_cancel', 'cronq_deaths')
        call('LPUSH', p .. 'pending', id)
    end,
    a = function(id, key)
        call('HSET', key, 'state', 'archived')
        call('HDEL', key, 'cronq_cancel')
        call('ZADD', p .. 'archived', now, id)
        archived = true
    end,
}
PUT.w = PUT.d

local function act(id)
    local key = p .. 't:' .. id
    local state = call('HGET', key, 'state')
    if not state then return 'none' end
    if REFUSED[action][state] then return state end
    if not take_out(id, key, state) then return 'merging' end
    PUT[action](id, key)
    return 'ok'
end

local out = {}
for i = 8, #ARGV do
    local ok, verdict = pcall(act, ARGV[i])
    out[i - 7] = ok and verdict or 'broken'
end
if #from_pending > 0 then drop_pending(from_pending) end
if archived then trim_archive(p, ARGV[4], ARGV[5]) end
return out

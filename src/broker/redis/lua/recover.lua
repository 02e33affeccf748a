-- recover: does away with leases that are over.
-- KEYS  the queue's prefix
-- ARGV  now (s), now (ns), date, end of the day's counters (s), archive's size, archive's
--       oldest (s), then (id, score, kind, message, failure)s
-- kind  r retry, p put back, a archive, q quarantine, d drop
-- Returns a letter for each: o done, s the lease has changed, or the task was cancelled (r,
-- p).
local p, now, now_ns = KEYS[1], ARGV[1], ARGV[2]
local active, lease = p .. 'active', p .. 'lease'
local failed, archived = 0, false
local out = {}

call('LLEN', active)
call('ZCARD', lease)
call('LLEN', p .. 'pending')
call('ZCARD', p .. 'archived')
call('SCARD', p .. 'groups')

local function to_group(id, key)
    local group = try('HGET', key, 'group')
    if type(group) ~= 'string' or group == '' then return false end
    if type(try('ZADD', p .. 'g:' .. group, now, id)) == 'table' then return false end
    call('SADD', p .. 'groups', group)
    try('HSET', key, 'state', 'aggregating')
    return true
end

-- Its turn had come: it is the next to run.
local function to_pending(id, key)
    try('HSET', key, 'state', 'pending', 'pending_since', now_ns)
    call('RPUSH', p .. 'pending', id)
end

local function to_archive(id, key)
    if type(try('HSET', key, 'state', 'archived')) == 'table' then
        call('UNLINK', key)
        return false
    end
    try('HDEL', key, 'pending_since', 'cronq_deaths', 'cronq_cancel')
    call('ZADD', p .. 'archived', now, id)
    archived = true
    return true
end

local RECOVER = {
    r = function(id, key, message, failure)
        try('HSET', key, 'msg', message)
        remember(key, failure)
        try('HDEL', key, 'pending_since')
        if not to_group(id, key) then to_pending(id, key) end
        failed = failed + 1
    end,
    -- The mark of no attempt: it is put back once.
    p = function(id, key)
        try('HSET', key, 'cronq_started', 0)
        to_pending(id, key)
    end,
    a = function(id, key, message, failure)
        if to_archive(id, key) then
            call('HSET', key, 'msg', message)
            remember(key, failure)
        end
        failed = failed + 1
    end,
    q = function(id, key, message)
        local raw = try('HGET', key, 'msg')
        if type(raw) == 'table' then raw = '' end
        if not to_archive(id, key) then call('ZADD', p .. 'archived', now, id) end
        call('HSET', key, 'msg', message, 'state', 'archived', 'raw', raw or '')
        failed = failed + 1
    end,
    d = function(_, key)
        if try('HEXISTS', key, 'msg') ~= 1 then call('UNLINK', key) end
    end,
}

for i = 7, #ARGV, 5 do
    local id, score = ARGV[i], call('ZSCORE', lease, ARGV[i])
    local key = p .. 't:' .. id
    local kind = ARGV[i + 2]
    if not score or tonumber(score) ~= tonumber(ARGV[i + 1]) or
        ((kind == 'r' or kind == 'p') and try('HEXISTS', key, 'cronq_cancel') == 1) then
        out[#out + 1] = 's'
    else
        call('LREM', active, -1, id)
        call('ZREM', lease, id)
        try('HDEL', key, 'cronq_started')
        RECOVER[kind](id, key, ARGV[i + 3], ARGV[i + 4])
        out[#out + 1] = 'o'
    end
end
if failed > 0 then count(p, failed, failed, ARGV[3], ARGV[4]) end
if archived then trim_archive(p, ARGV[5], ARGV[6]) end
return table.concat(out)

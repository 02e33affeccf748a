-- common: what several scripts do; put before them.
local call, try = redis.call, redis.pcall

local function free_lock(lock, id)
    if try('GET', lock) == id then call('DEL', lock) end
end

-- The lock that a message names (field 10), or nil.
local function lock_in(message)
    local at, n = 1, #message
    local function varint()
        local value, scale, byte = 0, 1, nil
        repeat
            byte = string.byte(message, at) or 0
            at, value, scale = at + 1, value + byte % 128 * scale, scale * 128
        until byte < 128
        return value
    end
    while at <= n do
        local tag = varint()
        local kind = tag % 8
        if kind == 0 then
            varint()
        elseif kind == 1 or kind == 5 then
            at = at + (kind == 1 and 8 or 4)
        elseif kind == 2 then
            local size = varint()
            if tag == 82 then return string.sub(message, at, at + size - 1) end
            at = at + size
        else
            return nil
        end
    end
end

-- Free the lock that a task holds. Of one that was pushed to a group only the message
-- names it.
local function free_lock_of(p, key, id)
    local fields = try('HMGET', key, 'unique_key', 'group')
    if fields.err then return end
    local lock = fields[1]
    if not lock and fields[2] then lock = lock_in(try('HGET', key, 'msg') or '') end
    if lock and string.sub(lock, 1, #p) == p then free_lock(lock, id) end
end

-- Totals restart with this batch where they would pass the greatest integer.
local function count(p, processed, failed, date, day_end)
    local today = try('INCRBY', p .. 'processed:' .. date, processed)
    if today == processed then call('EXPIREAT', p .. 'processed:' .. date, day_end) end
    if failed > 0 then
        today = try('INCRBY', p .. 'failed:' .. date, failed)
        if today == failed then call('EXPIREAT', p .. 'failed:' .. date, day_end) end
    end
    if type(try('INCRBY', p .. 'processed', processed)) == 'table' then
        call('SET', p .. 'processed', processed)
        if failed > 0 then call('SET', p .. 'failed', failed) end
    elseif failed > 0 and type(try('INCRBY', p .. 'failed', failed)) == 'table' then
        call('SET', p .. 'failed', failed)
    end
end

-- Put a failure before those that are remembered of a task: ten lines at most.
local function remember(key, line)
    if line == '' then return end
    local before, stop = try('HGET', key, 'cronq_failures'), 0
    if type(before) == 'string' then
        for _ = 1, 9 do
            stop = stop and string.find(before, '\n', stop + 1, true)
        end
        line = line .. '\n' .. string.sub(before, 1, stop and stop - 1 or -1)
    end
    try('HSET', key, 'cronq_failures', line)
end

local function drop_archived(p, ids)
    if #ids == 0 then return end
    call('ZREM', p .. 'archived', unpack(ids))
    for _, id in ipairs(ids) do
        local key = p .. 't:' .. id
        free_lock_of(p, key, id)
        call('UNLINK', key)
    end
end

-- At most 1,000 of each kind at a time: the next archived task takes the next.
local function trim_archive(p, size, oldest)
    local key = p .. 'archived'
    local more = call('ZCARD', key) - size
    if more > 0 then
        drop_archived(p, call('ZRANGE', key, 0, math.min(more, 1000) - 1))
    end
    drop_archived(p, call('ZRANGEBYSCORE', key, '-inf', oldest, 'LIMIT', 0, 1000))
end

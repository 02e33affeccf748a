-- common: what several scripts do; put before them.
local call, try = redis.call, redis.pcall

local function free_lock(lock, id)
    if try('GET', lock) == id then call('DEL', lock) end
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

local function drop_archived(p, ids)
    if #ids == 0 then return end
    call('ZREM', p .. 'archived', unpack(ids))
    for _, id in ipairs(ids) do
        local key = p .. 't:' .. id
        local lock = try('HGET', key, 'unique_key')
        if type(lock) == 'string' and lock ~= '' then free_lock(lock, id) end
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

-- implant: stores tasks that were in another store, as they were.
-- KEYS  the queue's prefix
-- ARGV  for each: id, message, state, time (s), pending since (ns), group, r and the result
--       (or ""), unique key, its seconds left (0: not held), failures (or ""), r and the
--       bytes kept in raw (or "")
-- Returns for each: o it is there, e another task has its id.
local call, p = redis.call, KEYS[1]
local out = {}

local function implant(id, message, state, at, since, group, result, lock, ttl, failures, raw)
    local key = p .. 't:' .. id
    if call('EXISTS', key) == 1 then return call('HGET', key, 'msg') == message and 'o' or 'e' end
    call('HSET', key, 'msg', message, 'state', state)
    if group ~= '' then call('HSET', key, 'group', group) end
    if result ~= '' then call('HSET', key, 'result', string.sub(result, 2)) end
    if failures ~= '' then call('HSET', key, 'cronq_failures', failures) end
    if raw ~= '' then call('HSET', key, 'raw', string.sub(raw, 2)) end
    if lock ~= '' and state ~= 'aggregating' then call('HSET', key, 'unique_key', lock) end
    if state == 'pending' then
        if since ~= '0' then call('HSET', key, 'pending_since', since) end
        call('LPUSH', p .. 'pending', id)
    elseif state == 'aggregating' then
        call('ZADD', p .. 'g:' .. group, at, id)
        call('SADD', p .. 'groups', group)
    else
        call('ZADD', p .. state, at, id)
        if group ~= '' and (state == 'scheduled' or state == 'retry') then
            call('SADD', p .. 'groups', group)
            call('ZADD', p .. 'cronq:groups', 'GT', at, group)
        end
    end
    if ttl ~= '0' then call('SET', lock, id, 'NX', 'EX', ttl) end
    return 'o'
end

for i = 1, #ARGV, 11 do
    out[#out + 1] = implant(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4],
                            ARGV[i + 5], ARGV[i + 6], ARGV[i + 7], ARGV[i + 8], ARGV[i + 9],
                            ARGV[i + 10])
end
return out

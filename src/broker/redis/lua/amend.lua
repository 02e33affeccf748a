-- amend: gives a task another message, or another time, in place.
-- KEYS  the queue's prefix
-- ARGV  kind (m only the message, t the time), id, now (s), now (ns), time (s; 0: now),
--       then perhaps: its message as it was read, its new one
-- Returns {"ok", state}, {"none"}, {"other"} when its message is another, {"merging"}, or
-- the state that does not allow it.
local call, p, id, now = redis.call, KEYS[1], ARGV[2], tonumber(ARGV[3])
local key, at = p .. 't:' .. id, tonumber(ARGV[5])
local fields = call('HMGET', key, 'state', 'group', 'unique_key')
local state, group, lock = fields[1], fields[2], fields[3]

if not state then return {'none'} end
if ARGV[1] == 'm' and state ~= 'scheduled' then return {state} end
if state == 'active' or state == 'completed' then return {state} end
if #ARGV > 5 and call('HGET', key, 'msg') ~= ARGV[6] then return {'other'} end
if #ARGV > 5 and ARGV[1] == 'm' then
    call('HSET', key, 'msg', ARGV[7])
    return {'ok', state}
end
call('LLEN', p .. 'pending')
call('ZCARD', p .. 'scheduled')
call('SCARD', p .. 'groups')
call('ZCARD', p .. 'cronq:groups')

-- The seconds that it still had to wait.
local waited = 0
if state == 'pending' then
    call('LREM', p .. 'pending', -1, id)
elseif state == 'aggregating' then
    if not group or call('ZREM', p .. 'g:' .. group, id) == 0 then return {'merging'} end
    if call('ZCARD', p .. 'g:' .. group) == 0 then call('SREM', p .. 'groups', group) end
else
    local score = call('ZSCORE', p .. state, id)
    if score and state == 'scheduled' then waited = math.max(tonumber(score) - now, 0) end
    call('ZREM', p .. state, id)
end
if #ARGV > 5 then call('HSET', key, 'msg', ARGV[7]) end
call('HDEL', key, 'pending_since', 'cronq_cancel')

-- The lock lasts as long after the task's time as it did.
if lock and call('GET', lock) == id then
    local left = call('TTL', lock)
    if left > 0 then
        call('EXPIRE', lock, math.max(left - waited + math.max(at - now, 0), 1))
    end
end

if at == 0 and group and group ~= '' then
    call('HSET', key, 'state', 'aggregating')
    call('ZADD', p .. 'g:' .. group, now, id)
    call('SADD', p .. 'groups', group)
    return {'ok', 'aggregating'}
end
if at == 0 then
    call('HSET', key, 'state', 'pending', 'pending_since', ARGV[4])
    call('LPUSH', p .. 'pending', id)
    return {'ok', 'pending'}
end
call('HSET', key, 'state', 'scheduled')
call('ZADD', p .. 'scheduled', at, id)
if group and group ~= '' then
    call('SADD', p .. 'groups', group)
    call('ZADD', p .. 'cronq:groups', 'GT', at, group)
end
return {'ok', 'scheduled'}

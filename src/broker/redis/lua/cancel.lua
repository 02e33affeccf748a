-- cancel: marks an active task as cancelled.
-- KEYS  the queue's prefix; ARGV  id, now (ns)
-- Returns its state, or "none".
local key = KEYS[1] .. 't:' .. ARGV[1]
local state = redis.call('HGET', key, 'state')
if state == 'active' then redis.call('HSET', key, 'cronq_cancel', ARGV[2]) end
return state or 'none'

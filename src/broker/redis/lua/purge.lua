-- purge: deletes completed tasks past their retention.
-- KEYS  the queue's prefix; ARGV  now (s), at most
-- Returns how many.
local p = KEYS[1]
local ids = redis.call('ZRANGEBYSCORE', p .. 'completed', '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
if #ids == 0 then return 0 end
local keys = {}
for i = 1, #ids do keys[i] = p .. 't:' .. ids[i] end
redis.call('UNLINK', unpack(keys))
redis.call('ZREM', p .. 'completed', unpack(ids))
return #ids

-- result: writes the result of a task while its lease carries the fence.
-- KEYS  the queue's prefix; ARGV  id, k, result
-- Returns 1, or 0 when the task is not ours.
local p, k = KEYS[1], tonumber(ARGV[2])
local score = redis.call('ZSCORE', p .. 'lease', ARGV[1])
if not score or k == 0 or score % 1 ~= k / 1048576 then return 0 end
local key = p .. 't:' .. ARGV[1]
if redis.call('HGET', key, 'state') ~= 'active' then return 0 end
redis.call('HSET', key, 'result', ARGV[3])
return 1

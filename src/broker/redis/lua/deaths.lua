-- deaths: counts that workers died while they ran tasks.
-- KEYS  the queue's prefix; ARGV  id, k of one lease
-- Returns its deaths so far; 0 when the lease is not ours.
local p, id, k = KEYS[1], ARGV[1], tonumber(ARGV[2])
local score = redis.call('ZSCORE', p .. 'lease', id)
if not score or k == 0 or tonumber(score) % 1 ~= k / 1048576 then return 0 end
return redis.call('HINCRBY', p .. 't:' .. id, 'cronq_deaths', 1)

-- adopt: gives ids in active that have no lease one that is over.
-- KEYS  the queue's prefix; ARGV  its end (s), then ids
local p = KEYS[1]
for i = 2, #ARGV do
    if not redis.call('ZSCORE', p .. 'lease', ARGV[i]) and
        redis.call('LPOS', p .. 'active', ARGV[i], 'RANK', -1) then
        redis.call('ZADD', p .. 'lease', 'NX', ARGV[1], ARGV[i])
    end
end
return #ARGV - 1

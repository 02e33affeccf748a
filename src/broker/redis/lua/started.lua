-- started: marks tasks as started by the holder of their lease.
-- KEYS  the queue's prefix; ARGV  unused, then (id, k)s
-- Returns a letter for each: o marked, s not ours.
local p, ids, out = KEYS[1], {}, {}
for i = 2, #ARGV, 2 do ids[#ids + 1] = ARGV[i] end
local scores = redis.call('ZMSCORE', p .. 'lease', unpack(ids))
for i = 1, #ids do
    local k = tonumber(ARGV[2 * i + 1])
    out[i] = 's'
    if scores[i] and k > 0 and scores[i] % 1 == k / 1048576 then
        redis.pcall('HSET', p .. 't:' .. ids[i], 'cronq_started', k)
        out[i] = 'o'
    end
end
return table.concat(out)

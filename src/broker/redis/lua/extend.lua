-- extend: moves the end of leases that carry their fence.
-- KEYS  the queue's prefix; ARGV  new end (s), then (id, k)s
-- Returns a letter for each: o extended, c extended and marked as cancelled, s not ours.
local p, ids, out = KEYS[1], {}, {}
for i = 2, #ARGV, 2 do ids[#ids + 1] = ARGV[i] end
local scores = redis.call('ZMSCORE', p .. 'lease', unpack(ids))
local fresh = {}
for i = 1, #ids do
    local k = tonumber(ARGV[2 * i + 1])
    out[i] = 's'
    if scores[i] and k > 0 and scores[i] % 1 == k / 1048576 then
        out[i] = redis.pcall('HEXISTS', p .. 't:' .. ids[i], 'cronq_cancel') == 1 and 'c' or 'o'
        fresh[#fresh + 1] = string.format('%.7f', ARGV[1] + k / 1048576)
        fresh[#fresh + 1] = ids[i]
    end
end
if #fresh > 0 then redis.call('ZADD', p .. 'lease', 'XX', unpack(fresh)) end
return table.concat(out)

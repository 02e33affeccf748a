-- unleased: ids in active without a lease, oldest first.
-- KEYS  the queue's prefix; ARGV  at most
local p, most = KEYS[1], tonumber(ARGV[1])
local out, at = {}, 0
while #out < most and at < 20000 do
    local page = redis.call('LRANGE', p .. 'active', -at - 1000, -at - 1)
    if #page == 0 then break end
    local scores = redis.call('ZMSCORE', p .. 'lease', unpack(page))
    for i = #page, 1, -1 do
        if not scores[i] and #out < most then out[#out + 1] = page[i] end
    end
    at = at + 1000
end
return out

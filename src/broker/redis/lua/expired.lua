-- expired: leases that are over, oldest first.
-- KEYS  the queue's prefix
-- ARGV  leases of ours are over when they end by this (s, with a fraction), those of
--       others when they end by this, at most
-- Returns ids, scores, messages (nil without one), cronq_started (nil) and cronq_cancel
-- (nil) in turn.
local p, ours, others, most = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local out, n, at = {}, 0, 0
while n < 5 * most and at < 20000 do
    local page = redis.call('ZRANGEBYSCORE', p .. 'lease', '-inf', ARGV[1] + 1, 'WITHSCORES',
                            'LIMIT', at, 1000)
    if #page == 0 then break end
    for i = 1, #page, 2 do
        local score = tonumber(page[i + 1])
        local whole = math.floor(score)
        if n < 5 * most and whole <= (score == whole and others or ours) then
            local fields = redis.pcall('HMGET', p .. 't:' .. page[i], 'msg', 'cronq_started',
                                       'cronq_cancel')
            out[n + 1], out[n + 2] = page[i], page[i + 1]
            out[n + 3], out[n + 4] = fields[1] or false, fields[2] or false
            out[n + 5] = fields[3] or false
            n = n + 5
        end
    end
    at = at + 1000
end
return out

-- leased: the tasks whose lease carries a fence.
-- KEYS  the queue's prefix; ARGV  k, at most
-- Returns ids, scores and messages in turn.
local p, fence, most = KEYS[1], ARGV[1] / 1048576, tonumber(ARGV[2])
local out, at = {}, 0
while #out < 3 * most do
    local page = redis.call('ZRANGE', p .. 'lease', at, at + 999, 'WITHSCORES')
    if #page == 0 then break end
    for i = 1, #page, 2 do
        if page[i + 1] % 1 == fence and #out < 3 * most then
            local message = redis.pcall('HGET', p .. 't:' .. page[i], 'msg')
            if type(message) == 'string' then
                local n = #out
                out[n + 1], out[n + 2], out[n + 3] = page[i], page[i + 1], message
            end
        end
    end
    at = at + 1000
end
return out

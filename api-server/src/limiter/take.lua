-- GCRA (see gcra.rs) by this server's clock in microseconds, so that clocks of replicas do not matter.
-- KEYS: the client, and where there is one its site. ARGV: requests and period of each, in the same order.
-- Answers: 1 or 0, what remains, microseconds until one passes, microseconds until the bucket is full.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function take(key, requests, period)
  local cost = math.max(math.floor(period / requests), 1)
  local full_at = tonumber(redis.call('GET', key) or 0)
  -- A clock that was set back, or a rule whose period became shorter, locks nobody out for longer than a period.
  local limit = now + period
  local begin = math.min(math.max(full_at, now), limit)
  local after = begin + cost
  if after > limit then
    if full_at > limit then
      redis.call('SET', key, string.format('%.0f', limit), 'PX', math.ceil(period / 1000))
    end
    return { 0, 0, after - limit, begin - now }
  end
  -- Plain tostring would write 1.7e+15.
  redis.call('SET', key, string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000))
  return { 1, math.floor((limit - after) / cost), 0, after - now }
end

local answer
for i = #KEYS, 1, -1 do
  answer = take(KEYS[i], tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i]))
  if answer[1] == 0 then
    break
  end
end
return answer

-- One request against the bucket KEYS[1], as the balance crate's Leaky does it, by Redis's clock.
-- ARGV: rate, period in milliseconds, capacity in units. Returns the level before the request;
-- the request was counted if level + period <= capacity.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local rate, period, capacity = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local level = 0
local kept = redis.call('GET', KEYS[1])
if kept then
  local before, last = string.match(kept, '^(%d+) (%d+)$')
  last = tonumber(last)
  if last > now then now = last end
  level = math.max(tonumber(before) - rate * (now - last), 0)
end
local poured = level + period
if poured <= capacity then
  local value = string.format('%.0f %.0f', poured, now)
  redis.call('SET', KEYS[1], value, 'PX', string.format('%.0f', math.ceil(poured / rate)))
end
return string.format('%.0f', level)

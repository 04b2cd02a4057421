-- Gives back what a call took that never left, after charging another counter instead; where that one is used up, the call
-- keeps what it took. The same arithmetic as `limits::Bucket::refund`.
--
-- KEYS: the counter to charge, then those to give back to. ARGV: nanoseconds for a unit and burst of the first, 0 and 0 to
-- charge nothing; then for each four words: kind, a, units, and when they were taken: for a rate the theoretical arrival
-- time then, as microseconds:nanoseconds; for a budget the window's number.
-- Reply: 1 if it was given back.
local time = redis.call('TIME')
local micros = tonumber(time[1]) * 1000000 + tonumber(time[2])

local function write(key, now, missing, life)
  local whole = math.floor(missing / 1000)
  local value = string.format('%.0f:%.0f %.0f', now + whole, missing - whole * 1000, now)
  if life then
    redis.call('SET', key, value, 'PX', string.format('%.0f', life))
  else
    redis.call('SET', key, value, 'KEEPTTL')
  end
end

local function read(value)
  if not value then return micros, 0 end
  local tat, fraction, last = string.match(value, '^(%d+):(%d+) (%d+)$')
  local now = math.max(micros, tonumber(last))
  return now, (tonumber(tat) - now) * 1000 + tonumber(fraction)
end

local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
if burst > 0 then
  local now, missing = read(redis.call('GET', KEYS[1]))
  missing = math.min(math.max(missing, 0), interval * burst) + interval
  if interval == 0 or missing > interval * burst then return 0 end
  write(KEYS[1], now, missing, math.ceil((now - micros) / 1000 + missing / 1000000) + 1000)
end

for i = 2, #KEYS do
  local at = 2 + (i - 2) * 4
  local kind, a, units = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local value = redis.call('GET', KEYS[i])
  if value and kind == 1 then
    local now, missing = read(value)
    local tat, fraction = string.match(ARGV[at + 4], '^(%d+):(%d+)$')
    local since = (tonumber(tat) - now) * 1000 + tonumber(fraction)
    write(KEYS[i], now, math.max(missing - math.min(units * a, math.max(since, 0)), 0))
  elseif value then
    local window, used = string.match(value, '^(%d+) (%d+)$')
    if window == ARGV[at + 4] then
      redis.call('SET', KEYS[i], string.format('%s %.0f', window, math.max(tonumber(used) - units, 0)), 'KEEPTTL')
    end
  end
end
return 1

-- The generic cell rate algorithm over Redis' own clock, for all requests of a call at once. A key holds when it was
-- written, in microseconds, and what was used then: the time that it takes to come back, in units of which there are
-- so many to a nanosecond. All numbers are whole, and exact up to 2^53.
--
-- ARGV: the number of requests; for each the number of its limits; for each of those the time that one unit takes, the
-- time of a burst, the cost in units, the scale, and whether it is on trial. KEYS: one for each limit, and others that
-- are not looked at.
-- Returns for each request 1 if it is let through, then for each of its limits 1 if that one lets it through, and
-- what is used.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local said, argument, key = {}, 2, 1
for _ = 1, tonumber(ARGV[1]) do
  local count = tonumber(ARGV[argument])
  argument = argument + 1
  local limits, through = {}, 1
  for index = 1, count do
    local interval, capacity = tonumber(ARGV[argument]), tonumber(ARGV[argument + 1])
    local cost, scale = tonumber(ARGV[argument + 2]), tonumber(ARGV[argument + 3])
    local used, stepped = 0, false
    local at, was, of = string.match(redis.call('GET', KEYS[key]) or '', '^(%d+) (%d+) (%d+)$')
    if at then
      local since = now - tonumber(at)
      if since < 0 then
        -- The clock has stepped back, which gives nothing back. What is used counts down from now on.
        since, stepped = 0, true
      end
      used = math.ceil(tonumber(was) * scale / tonumber(of)) - since * 1000 * scale
      used = math.max(0, math.min(used, capacity))
    end
    local after = used + cost * interval
    local allowed = after <= capacity and 1 or 0
    if allowed == 0 and ARGV[argument + 4] == '0' then
      through = 0
    end
    limits[index] = {
      key = KEYS[key], used = used, after = after, scale = scale, allowed = allowed, stepped = stepped,
    }
    argument, key = argument + 5, key + 1
  end
  said[#said + 1] = through
  for _, limit in ipairs(limits) do
    local used = limit.used
    if through == 1 and limit.allowed == 1 then
      used = limit.after
    end
    if used > limit.used or limit.stepped then
      local keep = math.ceil(used / (1000000 * limit.scale)) + 1
      redis.call('SET', limit.key, string.format('%.0f %.0f %.0f', now, used, limit.scale), 'PX', keep)
    end
    said[#said + 1] = limit.allowed
    said[#said + 1] = string.format('%.0f', used)
  end
end
return said

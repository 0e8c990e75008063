#!lua
-- Claims due timers of one space. A claimed timer stands in the sorted set at the end of its lease, so that it wakes
-- again when its claimant died; the due time it had, and the token that proves the claim, stand in the hash.
--
-- A caller that never heard the answer asks again with the same tokens and gets what it has claimed with them: a claim
-- that nobody knows of would hold its timer up until the lease is over.
--
-- KEYS   timers (sorted set: owner by when it can be claimed), claims (hash: owner -> `token due`)
-- ARGV   how far the caller's clock is ahead of this one in milliseconds (0 but in tests),
--        lease in milliseconds, how long ago the caller may have used these tokens before in milliseconds (0: never),
--        then one token for each timer that may be claimed
-- Reply  owner, due, token, end of the lease; owner, due, ...

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + tonumber(ARGV[1])
local lease, ago = tonumber(ARGV[2]), tonumber(ARGV[3])
local lease_until = string.format('%.0f', now + lease)
local claims = {}
if ago > 0 then
  local mine = {}
  for i = 4, #ARGV do
    mine[ARGV[i]] = true
  end
  local since = string.format('%.0f', now + lease - ago)
  local held = redis.call('ZRANGEBYSCORE', KEYS[1], since, lease_until, 'WITHSCORES')
  for i = 1, #held, 2 do
    local claim = redis.call('HGET', KEYS[2], held[i])
    local token = claim and string.sub(claim, 1, 36)
    if token and mine[token] then
      claims[#claims + 1] = held[i]
      claims[#claims + 1] = string.sub(claim, 38)
      claims[#claims + 1] = token
      claims[#claims + 1] = held[i + 1]
    end
  end
  if #claims > 0 then
    return claims
  end
end
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'WITHSCORES', 'LIMIT', 0, #ARGV - 3)
for i = 1, #found, 2 do
  local owner, due, token = found[i], found[i + 1], ARGV[3 + (i + 1) / 2]
  local before = redis.call('HGET', KEYS[2], owner)
  if before then
    due = string.sub(before, 38)
  end
  redis.call('ZADD', KEYS[1], lease_until, owner)
  redis.call('HSET', KEYS[2], owner, token .. ' ' .. due)
  claims[#claims + 1] = owner
  claims[#claims + 1] = due
  claims[#claims + 1] = token
  claims[#claims + 1] = lease_until
end
return claims

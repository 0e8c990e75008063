#!lua
-- Applies one batch to one space, or none of it.
--
-- The shebang makes Redis (7.0 and newer) refuse the whole script on a read-only replica, when memory or disk is full,
-- or when replicas are missing, before its first line. A script that fails half-way would leave its first half behind,
-- so the types of all keys and all checks are looked at before the first write, and no write below can fail after that.
--
-- KEYS   the keys of the batch, each once
-- ARGV   commit id
--        the type of each key, one letter each: (h)ash, (z) sorted set, s(t)ream, (s)tring
--        number of documents put, then the number (in KEYS) of each
--        number of checks, then each as its name and its arguments
--        number of writes, then each as its name and its arguments
-- Reply  {'applied'} | {'repeated'} | {'conflict', number of the check, from 0} | {'damaged', key}

local at = 0
local function take()
  at = at + 1
  return ARGV[at]
end
local function key()
  return KEYS[tonumber(take())]
end
local function number(text)
  return tonumber(text or '0') or 0
end
local function digits(value)
  return string.format('%.0f', value)
end

local commit = take()

-- 1. Types.
local names = { h = 'hash', z = 'zset', t = 'stream', s = 'string' }
local types = take()
for i = 1, #KEYS do
  local found = redis.call('TYPE', KEYS[i])['ok']
  if found ~= 'none' and found ~= names[string.sub(types, i, i)] then
    return { 'damaged', KEYS[i] }
  end
end

-- 2. Was this batch applied before?
for _ = 1, tonumber(take()) do
  if redis.call('HGET', key(), 'commit') == commit then
    return { 'repeated' }
  end
end

-- 3. Checks.
local holds = {
  revision = function()
    local document, revision = key(), take()
    return redis.call('HGET', document, 'revision') == revision
  end,
  exists = function()
    return redis.call('EXISTS', key()) == 1
  end,
  absent = function()
    return redis.call('EXISTS', key()) == 0
  end,
  free = function()
    local unique, name = key(), take()
    return redis.call('HEXISTS', unique, name) == 0
  end,
  held = function()
    local unique, name, id = key(), take(), take()
    return redis.call('HGET', unique, name) == id
  end,
  counter = function()
    local counters, name = key(), take()
    local delta, min, max = number(take()), number(take()), number(take())
    local value = number(redis.call('HGET', counters, name)) + delta
    return value >= min and value <= max
  end,
  claimed = function()
    local claims, owner, token = key(), take(), take()
    local claim = redis.call('HGET', claims, owner)
    return claim and string.sub(claim, 1, #token) == token
  end,
  timer = function()
    local timers, owner, wakes = key(), take(), take()
    return tonumber(redis.call('ZSCORE', timers, owner) or '') == tonumber(wakes)
  end,
  indexed = function()
    local index, member, present = key(), take(), take()
    return (redis.call('ZSCORE', index, member) and '1' or '0') == present
  end,
}
for i = 1, tonumber(take()) do
  if not holds[take()]() then
    return { 'conflict', tostring(i - 1) }
  end
end

-- 4. Writes. Numbers are computed here and stored with HSET: HINCRBY fails on what is not a number, after other writes.
local limit = 9007199254740991
local apply = {
  put = function()
    local document, revision, created, modified, body, state = key(), take(), take(), take(), take(), take()
    redis.call('HSET', document, 'revision', revision, 'commit', commit, 'created', created, 'modified', modified,
      'body', body, 'state', state)
    redis.call('HSETNX', document, 'memberships', '0')
  end,
  delete = function()
    redis.call('DEL', key())
  end,
  touch = function()
    local document, memberships, bump = key(), number(take()), take()
    if redis.call('EXISTS', document) == 0 then
      return
    end
    local count = number(redis.call('HGET', document, 'memberships')) + memberships
    redis.call('HSET', document, 'memberships', digits(math.max(count, 0)))
    if bump ~= '' then
      local revision = number(redis.call('HGET', document, 'revision')) + 1
      redis.call('HSET', document, 'revision', digits(revision), 'modified', bump)
    end
  end,
  hold = function()
    local unique, name, id = key(), take(), take()
    redis.call('HSET', unique, name, id)
  end,
  release = function()
    local unique, name = key(), take()
    redis.call('HDEL', unique, name)
  end,
  add = function()
    local index, member = key(), take()
    redis.call('ZADD', index, 0, member)
  end,
  remove = function()
    local index, member = key(), take()
    redis.call('ZREM', index, member)
  end,
  set = function()
    local timers, claims, owner, due = key(), key(), take(), take()
    redis.call('ZADD', timers, due, owner)
    redis.call('HDEL', claims, owner)
  end,
  clear = function()
    local timers, claims, owner = key(), key(), take()
    redis.call('ZREM', timers, owner)
    redis.call('HDEL', claims, owner)
  end,
  count = function()
    local counters, name, delta = key(), take(), number(take())
    local value = number(redis.call('HGET', counters, name)) + delta
    redis.call('HSET', counters, name, digits(math.max(-limit, math.min(limit, value))))
  end,
  event = function()
    local events, body = key(), take()
    redis.call('XADD', events, '*', 'body', body)
  end,
  -- The schema version of the store, written once, with its first batch.
  schema = function()
    local schema, version = key(), take()
    redis.call('SET', schema, version, 'NX')
  end,
}
for _ = 1, tonumber(take()) do
  apply[take()]()
end
return { 'applied' }

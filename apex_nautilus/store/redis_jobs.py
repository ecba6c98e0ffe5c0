"""The job queue on a Redis server: for a Forge on other machines than the arena.

A stream with a consumer group, and a hash for each job. The stream gives order and delivery; what it
delivered and nobody has acknowledged is in the group's list of pending entries, with the time of its last
delivery by the server's own clock. That is the lease: an entry that has not been heard of for `lease_s` is
delivered again (``XAUTOCLAIM``). With the other customary form, a list that workers move jobs from to a
second one (``RPOPLPUSH``), a job in the second list has no age and no owner, and who is to put it back has to
be settled elsewhere; so the stream it is.

Every step is one script that the server runs whole or not at all, so a client that dies between two commands
does not exist, and the record of a job never contradicts the stream. A call whose reply was lost is repeated
with the token it was first made with; the script then tells what it told before.

=============================  ==========================================================================
``<name>``                     the stream, by default ``forge:job_queue``; an entry holds the job's id
``<name>:job:<id>``            hash: job, state, attempts, owner, entry, result, reason
``<name>:index``               list of all ids in the order in which they were put
``<name>:reply:<token>``       which job a claim was given, for ten minutes
``<name>:invalid``             list of entries that others added to the stream and that are no jobs
=============================  ==========================================================================

Needs Redis 6.2 or later, one server (or one with replicas; not a cluster, where a script may not name keys
that it finds). What survives the server's own death is the server's choice: use ``appendonly yes``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from apex_nautilus.store.errors import NOT_JSON, StoreError
from apex_nautilus.store.faults import fault_point
from apex_nautilus.store.job_queue import (
    MAX_ATTEMPTS,
    Claim,
    Job,
    JobStatus,
    QueueUnavailable,
    decode_job,
)
from apex_nautilus.store.layout import check_name

__all__ = ["DEFAULT_NAME", "PASSWORD_VARIABLE", "RedisClaim", "RedisJobQueue"]

DEFAULT_NAME = "forge:job_queue"
PASSWORD_VARIABLE = "APEX_REDIS_PASSWORD"
_GROUP = "forge"
# One name for all workers: the group tells entries apart, the job's hash its owner, and a name for each
# worker that ever lived would stay in the group for good.
_CONSUMER = "workers"
_PAGE = 500
_MAX_LEASE_S = 86_400.0
# An entry that was given back is as old as this at once, which is older than any lease.
_FREE_MS = 1_000_000_000

_LUA_PUT = """
local record = KEYS[3]
if redis.call('EXISTS', record) == 1 then
  if redis.call('HGET', record, 'token') == ARGV[3] then return 1 end
  return 0
end
redis.call('HSET', record, 'job', ARGV[2], 'state', 'todo', 'attempts', 0, 'token', ARGV[3])
redis.call('RPUSH', KEYS[2], ARGV[1])
redis.call('XADD', KEYS[1], '*', 'id', ARGV[1])
return 1
"""

_LUA_CLAIM = """
local stream, group, consumer, lease = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local owner, token, most = ARGV[4], ARGV[5], tonumber(ARGV[6])
local reply = stream .. ':reply:' .. token
local had = redis.call('GET', reply)
if had then
  local record = stream .. ':job:' .. had
  local r = redis.call('HMGET', record, 'job', 'attempts', 'entry', 'token')
  return {had, r[1], r[2], r[3]}
end
redis.pcall('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')

local function stale()
  local from = '0-0'
  repeat
    local found = redis.call('XAUTOCLAIM', stream, group, consumer, lease, from, 'COUNT', 1)
    from = found[1]
    if found[2][1] then return found[2][1] end
  until from == '0-0'
  return nil
end

local function fresh()
  local found = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', 1, 'STREAMS', stream, '>')
  if found then return found[1][2][1] end
  return nil
end

local function drop(entry)
  redis.call('XACK', stream, group, entry)
  redis.call('XDEL', stream, entry)
end

while true do
  local entry = stale() or fresh()
  if not entry then return false end
  local fields = entry[2]
  local id = nil
  if #fields == 2 and fields[1] == 'id' then id = fields[2] end
  local record = stream .. ':job:' .. (id or '')
  local state = id and redis.call('HGET', record, 'state')
  if not state then
    redis.call('RPUSH', stream .. ':invalid', entry[1] .. ' ' .. table.concat(fields, ' '))
    drop(entry[1])
  elseif state == 'done' or state == 'failed' then
    drop(entry[1])
  else
    local attempts = tonumber(redis.call('HGET', record, 'attempts'))
    if attempts >= most then
      local last = redis.call('HGET', record, 'owner') or 'unknown'
      redis.call('HSET', record, 'state', 'failed', 'reason',
        'worker ' .. last .. ' died during attempt ' .. attempts .. ' of ' .. most)
      drop(entry[1])
    else
      redis.call('HSET', record, 'state', 'doing', 'attempts', attempts + 1, 'owner', owner, 'entry',
      entry[1]) redis.call('SET', reply, id, 'EX', 600)
      return {id, redis.call('HGET', record, 'job'), attempts + 1, entry[1]}
    end
  end
end
"""

_LUA_HEARTBEAT = """
local r = redis.call('HMGET', KEYS[2], 'state', 'attempts')
if r[1] ~= 'doing' or r[2] ~= ARGV[3] then return 0 end
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[4], 'JUSTID')
return 1
"""

# how: done, failed or released. A claim that was lost meanwhile answers (the first answer stands) but gives
# nothing back and fails nothing.
_LUA_CLOSE = """
local stream, record = KEYS[1], KEYS[2]
local group, consumer, attempt, entry = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local how, text, most, free = ARGV[5], ARGV[6], tonumber(ARGV[7]), ARGV[8]
local r = redis.call('HMGET', record, 'state', 'attempts')
local state = r[1]
if state == false then return redis.error_reply('NOJOB') end
local open = state == 'todo' or state == 'doing'
local own = state == 'doing' and r[2] == attempt
if how == 'done' and open then
  redis.call('HSET', record, 'state', 'done', 'result', text, 'attempts', attempt)
  redis.call('HDEL', record, 'owner', 'reason')
  redis.call('XACK', stream, group, entry)
  redis.call('XDEL', stream, entry)
elseif how == 'failed' and own and tonumber(attempt) >= most then
  redis.call('HSET', record, 'state', 'failed', 'reason', text)
  redis.call('HDEL', record, 'owner')
  redis.call('XACK', stream, group, entry)
  redis.call('XDEL', stream, entry)
elseif own and how ~= 'done' then
  redis.call('HSET', record, 'state', 'todo')
  if how == 'failed' then
    redis.call('HSET', record, 'reason', text)
    redis.call('HDEL', record, 'owner')
  end
  redis.call('XCLAIM', stream, group, consumer, 0, entry, 'IDLE', free, 'JUSTID')
end
return redis.call('HGETALL', record)
"""

_LUA_RECOVER = """
local stream, group, consumer, lease, most, free =
  KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
redis.pcall('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
local given, from = {}, '-'
while true do
  local pending = redis.call('XPENDING', stream, group, 'IDLE', lease, from, '+', 100)
  if #pending == 0 then return given end
  for _, one in ipairs(pending) do
    local entry = one[1]
    from = '(' .. entry
    local found = redis.call('XRANGE', stream, entry, entry)[1]
    local id = found and found[2][2] or ''
    local record = stream .. ':job:' .. id
    local r = redis.call('HMGET', record, 'state', 'attempts', 'owner')
    local attempts = tonumber(r[2] or 0)
    if (r[1] == 'doing' or r[1] == 'todo') and attempts >= most then
      redis.call('HSET', record, 'state', 'failed', 'reason',
        'worker ' .. (r[3] or 'unknown') .. ' died during attempt ' .. attempts .. ' of ' .. most)
      redis.call('XACK', stream, group, entry)
      redis.call('XDEL', stream, entry)
      table.insert(given, id)
    elseif r[1] == 'doing' then
      redis.call('HSET', record, 'state', 'todo')
      redis.call('XCLAIM', stream, group, consumer, 0, entry, 'IDLE', free, 'JUSTID')
      table.insert(given, id)
    end
  end
end
"""


class RedisClaim(Claim):
    """An entry of the stream in one worker's hands, for as long as it is heard of."""

    def __init__(self, job: Job, attempt: int, owner: str, entry: str, queue: RedisJobQueue) -> None:
        super().__init__(job, attempt, owner)
        self.entry = entry
        self._queue: RedisJobQueue | None = queue

    def release(self) -> None:
        """Give the job back without an answer; a server that does not answer gives it back when the lease
        ends."""
        queue, self._queue = self._queue, None
        if queue is not None:
            try:
                queue._end(self, "released", "")
            except QueueUnavailable:
                return


class RedisJobQueue:
    """A queue on a server; any number of threads and processes on any machine may use it at the same time.

    Parameters
    ----------
    url : ``redis://HOST:PORT/DB`` or ``rediss://`` (TLS), with ``?name=`` to use another than the default
        name, so that several arenas may share a server. It holds no password unless `allow_password`.
    lease_s : seconds without a heartbeat after which a worker counts as dead, 0.01 to 86,400.
    environment : where the password is looked up, as ``APEX_REDIS_PASSWORD``; by default the process's own.
    allow_password : the URL itself comes from the environment and may hold one.
    timeout_s : of one call, connecting included.
    patience : how often a call that got no answer is repeated, after 0.05 s, 0.1 s, 0.2 s ... up to 2 s each.
    sleep : waits between these; another may be given by a test.

    Raises
    ------
    StoreError
        The URL is none of Redis, or holds a password where it may not.
    """

    def __init__(
        self,
        url: str,
        *,
        lease_s: float = 60.0,
        environment: Mapping[str, str] | None = None,
        allow_password: bool = False,
        timeout_s: float = 5.0,
        patience: int = 6,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not 0.01 <= lease_s <= _MAX_LEASE_S:
            raise StoreError(f"lease_s is {lease_s!r}; it must be from 0.01 to {_MAX_LEASE_S:g} seconds")
        plain, self.name, username, password = _parse_url(url, allow_password)
        variables = os.environ if environment is None else environment
        self.where = plain
        self.lease_s: float | None = lease_s
        self._lease_ms = max(1, round(lease_s * 1000))
        self._patience = patience
        self._sleep = sleep
        self._client = redis.Redis.from_url(
            plain,
            username=username,
            password=password or variables.get(PASSWORD_VARIABLE) or None,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            # What may be repeated, and with which token, is known here and not to the client.
            retry=Retry(NoBackoff(), 0),
            decode_responses=False,
        )
        # Registering sends nothing; a server that forgot a script (it was restarted) is sent it again.
        script = self._client.register_script
        self._put, self._claim = script(_LUA_PUT), script(_LUA_CLAIM)
        self._heartbeat, self._close = script(_LUA_HEARTBEAT), script(_LUA_CLOSE)
        self._recover = script(_LUA_RECOVER)

    def __repr__(self) -> str:
        return f"RedisJobQueue({self.where!r}, name={self.name!r})"

    # ---------------------------------------------------------------- the port

    def put(self, job: Job) -> bool:
        """Add a job; False when its id is known already (then nothing changes).

        Raises
        ------
        QueueUnavailable
            The server does not answer; the job may have arrived, and putting it again is safe.
        """
        check_name(job.slot, "slot")
        if not job.job_id:
            raise StoreError("job_id: is empty; a job needs an id")
        keys = [self.name, f"{self.name}:index", self._record(job.job_id)]
        arguments = [job.job_id, msgspec.json.encode(job), _token()]
        added = self._ask(lambda: self._put(keys=keys, args=arguments))
        fault_point("jobs.put")
        return bool(added)

    def claim(self, owner: str) -> RedisClaim | None:
        """Take the oldest job that was given back or whose worker is dead, else the oldest that waits, or
        None."""
        check_name(owner, "owner")
        token = _token()
        while True:
            arguments = [_GROUP, _CONSUMER, self._lease_ms, owner, token, MAX_ATTEMPTS]
            found = self._ask(lambda sent=arguments: self._claim(keys=[self.name], args=sent))
            fault_point("jobs.claimed")
            if not found:
                return None
            job_id, data, attempt, entry = found
            try:
                job = decode_job(data)
            except (TypeError, *NOT_JSON) as error:
                # Nobody who keeps to the port writes such a record; it must not stop the others.
                self._finish(job_id.decode(), int(attempt), entry.decode(), "done", b"{}")
                self._ask(lambda i=job_id, e=error: self._put_away(i.decode(), e))
                token = _token()
                continue
            return RedisClaim(job, int(attempt), owner, entry.decode(), self)

    def _put_away(self, job_id: str, error: Exception) -> None:
        reason = f"not a job: {error}"
        self._client.hset(self._record(job_id), mapping={"state": "failed", "reason": reason})
        self._client.hdel(self._record(job_id), "result")

    def heartbeat(self, claim: Claim) -> bool:
        """Renew the lease; False when the job is no longer the worker's own."""
        held = _own(claim)
        keys = [self.name, self._record(held.job.job_id)]
        arguments = [_GROUP, _CONSUMER, held.attempt, held.entry]
        return bool(self._ask(lambda: self._heartbeat(keys=keys, args=arguments)))

    def complete(self, claim: Claim, result: dict[str, Any]) -> JobStatus:
        """Record the answer; one that stands already is kept and returned."""
        status = self._end(_own(claim), "done", msgspec.json.encode(result))
        fault_point("jobs.closed")
        return status

    def fail(self, claim: Claim, reason: str) -> JobStatus:
        """Give a job back after an error, or put it away after `MAX_ATTEMPTS`; a claim that was lost
        meanwhile changes nothing."""
        status = self._end(_own(claim), "failed", reason)
        fault_point("jobs.returned")
        return status

    def recover(self) -> list[str]:
        """Give back the jobs whose worker was not heard of for `lease_s`; return their ids."""
        arguments = [_GROUP, _CONSUMER, self._lease_ms, MAX_ATTEMPTS, _FREE_MS]
        return [i.decode() for i in self._ask(lambda: self._recover(keys=[self.name], args=arguments))]

    def status(self, job_id: str) -> JobStatus | None:
        """Where a job stands, None when its id is unknown."""
        return _status(self._ask(lambda: self._client.hgetall(self._record(job_id))))

    def jobs(self) -> Iterator[JobStatus]:
        """Every job once, in the order in which they were put."""
        start = 0
        while True:
            ids = self._ask(lambda at=start: self._client.lrange(f"{self.name}:index", at, at + _PAGE - 1))
            for found in self._ask(lambda some=ids: self._records(some)):
                status = _status(found)
                if status is not None:
                    yield status
            if len(ids) < _PAGE:
                return
            start += _PAGE

    def close(self) -> None:
        """Close the connections; a later call opens one again."""
        self._client.close()

    # ---------------------------------------------------------------- the server

    def _record(self, job_id: str) -> str:
        return f"{self.name}:job:{job_id}"

    def _records(self, ids: list[bytes]) -> list[dict[bytes, bytes]]:
        pipeline = self._client.pipeline(transaction=False)
        for job_id in ids:
            pipeline.hgetall(self._record(job_id.decode()))
        return pipeline.execute()

    def _end(self, claim: RedisClaim, how: str, text: str | bytes) -> JobStatus:
        status = self._finish(claim.job.job_id, claim.attempt, claim.entry, how, text)
        claim._queue = None
        if status is None:
            raise StoreError(f"{self.where}: job {claim.job.job_id} is gone from the server; put it again")
        return status

    def _finish(self, job_id: str, attempt: int, entry: str, how: str, text: str | bytes) -> JobStatus | None:
        keys = [self.name, self._record(job_id)]
        arguments = [_GROUP, _CONSUMER, attempt, entry, how, text, MAX_ATTEMPTS, _FREE_MS]
        try:
            flat = self._ask(lambda: self._close(keys=keys, args=arguments))
        except StoreError as error:
            if "NOJOB" in str(error):
                return None
            raise
        return _status(dict(zip(flat[::2], flat[1::2], strict=True)))

    def _ask[T](self, call: Callable[[], T]) -> T:
        """Call the server; repeat what got no answer."""
        wait = 0.05
        for left in range(self._patience, -1, -1):
            try:
                return call()
            except (redis.AuthenticationError, NoPermissionError) as error:
                raise StoreError(
                    f"{self.where}: the server refuses the password or user ({error}); set "
                    f"{PASSWORD_VARIABLE}"
                ) from None
            except (redis.ConnectionError, redis.TimeoutError) as error:
                # A server that is loading its file says so with a ConnectionError of its own.
                if left == 0:
                    raise QueueUnavailable(
                        f"{self.where}: no answer ({error}); start the server, or correct the address"
                    ) from None
            except redis.RedisError as error:
                raise StoreError(f"{self.where}: {error}") from None
            self._sleep(wait)
            wait = min(2.0 * wait, 2.0)
        raise AssertionError("unreachable")


def _own(claim: Claim) -> RedisClaim:
    if not isinstance(claim, RedisClaim):
        raise TypeError(f"{claim!r} was not claimed from a Redis queue; hand it to the queue it came from")
    return claim


def _token() -> str:
    """Tells a repeated call from a second one; it decides nothing else."""
    return os.urandom(16).hex()


def _parse_url(url: str, allow_password: bool) -> tuple[str, str, str | None, str | None]:
    """Return the address without secrets, the queue's name, the user and the password."""
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port or 6379
    except ValueError:
        host, port = None, 0
    if parts.scheme not in ("redis", "rediss") or not host:
        # The text may hold a password: it is not repeated.
        raise StoreError("queue: give redis://HOST:PORT/DB (or rediss:// for TLS)")
    if parts.password and not allow_password:
        raise StoreError(
            f"queue: the address of {host} holds a password; leave it out and set {PASSWORD_VARIABLE}, so "
            "that it stands in no file and no list of processes"
        )
    options = parse_qs(parts.query)
    name = options.pop("name", [DEFAULT_NAME])[0]
    if options or not name:
        raise StoreError(f"queue: {host}: unknown options {', '.join(sorted(options))}; only ?name= is known")
    if not parts.path.strip("/").isdigit() and parts.path not in ("", "/"):
        raise StoreError(f"queue: {host}: the path must be the number of a database, such as /0")
    shown = f"[{host}]" if ":" in host else host
    plain = urlunsplit((parts.scheme, f"{shown}:{port}", parts.path or "/0", "", ""))
    return plain, name, parts.username or None, parts.password or None


def _status(record: dict[bytes, bytes]) -> JobStatus | None:
    if not record:
        return None
    try:
        job = decode_job(record[b"job"])
        result = record.get(b"result")
        return JobStatus(
            state=record[b"state"].decode(),
            job=job,
            attempts=int(record[b"attempts"]),
            owner=record[b"owner"].decode() if record[b"state"] == b"doing" and b"owner" in record else None,
            result=None if result is None else msgspec.json.decode(result),
            reason=record[b"reason"].decode() if b"reason" in record else None,
        )
    except (KeyError, ValueError, *NOT_JSON):
        return None

"""The raw websocket client, for Python: compiles raw/*.c once and speaks to it.

One pool is one thread's: its calls let other threads run. Must never know: what is benchmarked.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from ctypes import (
    POINTER,
    Structure,
    byref,
    c_char,
    c_char_p,
    c_double,
    c_float,
    c_int,
    c_int64,
    c_size_t,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
    cast,
)
from enum import IntEnum
from functools import cache
from itertools import accumulate
from pathlib import Path

from tests.bench.raw.framing import request

SOURCES = [Path(__file__).parent / name for name in ("connection.c", "dialects.c", "rounds.c")]
CACHE = Path(__file__).parents[3] / ".bench-cache"
CLOSED = 3


class Dialect(IntEnum):
    NATIVE = 0
    YJS = 1
    HOCUSPOCUS = 2


class _Buffer(Structure):
    _fields_ = (
        ("bytes", c_void_p), ("size", c_size_t), ("used", c_size_t), ("begin", c_size_t),
    )  # fmt: skip


class _Group(Structure):
    _fields_ = (
        ("upto", POINTER(c_uint64)), ("count", c_uint64), ("left", POINTER(c_uint32)),
        ("begun_s", POINTER(c_double)), ("done_s", POINTER(c_double)),
        ("took_s", POINTER(c_float)), ("took", c_uint64), ("took_max", c_uint64),
        ("done", c_uint64),
    )  # fmt: skip


class _Sender(Structure):
    _fields_ = (
        ("conn", c_int), ("bytes", c_char_p), ("ends", POINTER(c_uint64)), ("count", c_uint64),
        ("next", c_uint64), ("due_s", POINTER(c_double)), ("unacked_max", c_uint64),
        ("undelivered_max", c_uint64), ("sent_s", POINTER(c_double)),
        ("acked_s", POINTER(c_double)), ("acked", c_uint64), ("upto", POINTER(c_uint64)),
        ("group", POINTER(_Group)),
    )  # fmt: skip


class Conn(Structure):
    """One connection, as it is now; the fields are explained in raw.h."""

    _fields_ = (
        ("fd", c_int), ("dialect", c_int), ("state", c_int), ("ready", c_int),
        ("close_code", c_int64),
        ("began_s", c_double), ("ready_s", c_double), ("said_s", c_double),
        ("closed_s", c_double), ("ready_updates", c_uint64), ("updates", c_uint64),
        ("messages", c_uint64), ("merged", c_uint64), ("hash", c_uint64), ("bytes", c_uint64),
        ("pongs", c_uint64), ("follow", c_uint64), ("base", c_uint64), ("greeted", c_int),
        ("listed", c_int), ("issued", c_int), ("synced", c_int), ("dump_fd", c_int),
        ("ticket", c_uint8 * 16), ("said", c_char * 200), ("ack_first", c_uint64),
        ("ack_last", c_uint64), ("ack_bytes", c_uint64), ("ack_since_s", c_double),
        ("group", c_void_p), ("sender", c_void_p), ("in_", _Buffer),
        ("out", _Buffer), ("part", _Buffer), ("pieces", _Buffer),
        ("opening", _Buffer), ("wants_out", c_int),
    )  # fmt: skip


class _Pool(Structure):
    _fields_ = (
        ("epoll", c_int), ("conns_count", c_int), ("ready", c_int),
        ("open", c_int), ("conns", POINTER(Conn)),
    )  # fmt: skip


class RawFailure(Exception):
    """A server did not do what it was asked; the message says what it said."""


@cache
def library() -> ctypes.CDLL:
    """The compiled client; made anew when its sources change."""
    sources = b"".join(path.read_bytes() for path in (*SOURCES, SOURCES[0].with_name("raw.h")))
    made = CACHE / f"raw-{hashlib.sha256(sources).hexdigest()[:16]}.so"
    if not made.exists():
        CACHE.mkdir(exist_ok=True)
        flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
        draft = made.with_suffix(f".{os.getpid()}")
        subprocess.run(["cc", *flags, "-o", str(draft), *map(str, SOURCES)], check=True)
        draft.rename(made)
    found = ctypes.CDLL(str(made))
    found.pool_new.restype = POINTER(_Pool)
    found.content_hash.restype = c_uint64
    found.content_hash.argtypes = [c_char_p, c_size_t]
    found.pool_open.argtypes = [
        c_void_p, c_int, c_int, c_int, c_char_p, c_char_p, c_size_t, c_uint64,
    ]  # fmt: skip
    found.pool_say.argtypes = [c_void_p, c_int, c_char_p, c_size_t]
    found.pool_close.argtypes = [c_void_p, c_int]
    found.pool_until_ready.argtypes = [c_void_p, c_int, c_double]
    found.pool_idle.argtypes = [c_void_p, c_double]
    found.pool_probe.restype = c_double
    found.pool_probe.argtypes = [c_void_p, c_int, c_double, POINTER(c_int)]
    found.pool_free.argtypes = [c_void_p]
    found.pool_follow.argtypes = [c_void_p, c_int, c_void_p]
    found.pool_run.argtypes = [c_void_p, c_void_p, c_int, c_double, c_double, POINTER(c_double)]
    found.now_s.restype = c_double
    return found


def content_hash(contents: Iterable[bytes]) -> int:
    """What a reader of all these updates has, in whatever order they came."""
    one = library().content_hash
    total = sum(int(one(content, len(content))) for content in contents)
    return total & ((1 << 64) - 1)


class Messages:
    """Framed messages to send, and how many updates are in each."""

    def __init__(self, framed: Sequence[bytes], updates: Sequence[int]) -> None:
        self.bytes = b"".join(framed)
        self.count = len(framed)
        self.updates = list(accumulate(updates))
        self.ends = (c_uint64 * self.count)(*accumulate(map(len, framed)))
        self.upto = (c_uint64 * self.count)(*self.updates)


class Group:
    """Readers whose getting of each message is timed."""

    def __init__(self, messages: Messages, readers: int, *, times_max: int = 1 << 20) -> None:
        count = messages.count
        self._upto = messages.upto
        self._left = (c_uint32 * count)(*([readers] * count))
        self._begun_s, self.done_s = (c_double * count)(), (c_double * count)()
        self._took_s = (c_float * times_max)()
        self.struct = _Group(
            self._upto, count, self._left, self._begun_s, self.done_s, self._took_s, 0, times_max, 0
        )

    @property
    def each_s(self) -> list[float]:
        """How long each message took to each reader, as they came."""
        return list(self._took_s[: self.struct.took])

    @property
    def all_s(self) -> list[float]:
        """How long each message took to the last reader."""
        done = self.struct.done
        return [b - a for a, b in zip(self._begun_s[:done], self.done_s[:done], strict=True)]


class Sender:
    """Who sends messages on one connection, as fast as the windows allow, or when each is due."""

    def __init__(
        self,
        conn: int,
        messages: Messages,
        *,
        due_s: Sequence[float] | None = None,
        unacked_max: int = 0,
        undelivered_max: int = 0,
        group: Group | None = None,
    ) -> None:
        count = messages.count
        self.messages = messages
        self._due_s = None if due_s is None else (c_double * count)(*due_s)
        self.sent_s, self._acked_s = (c_double * count)(), (c_double * count)()
        self._group = group
        self.struct = _Sender(
            conn, messages.bytes, messages.ends, count, 0,
            self._due_s, unacked_max, undelivered_max, self.sent_s, self._acked_s, 0,
            messages.upto, None if group is None else ctypes.pointer(group.struct),
        )  # fmt: skip

    @property
    def sent_updates(self) -> int:
        sent = self.struct.next
        return self.messages.updates[sent - 1] if sent else 0

    def acks_s(self, began_s: float) -> list[float]:
        """How long each message took to be acknowledged, from when it was due, or sent."""
        sent, due = self.struct.next, self._due_s
        from_s = self.sent_s[:sent] if due is None else [began_s + at for at in due[:sent]]
        return [b - a for a, b in zip(from_s, self._acked_s[:sent], strict=True)]

    @property
    def last_acked_s(self) -> float:
        return max(self._acked_s[: self.struct.next], default=0.0)


class Pool:
    """Connections that one thread reads and writes."""

    def __init__(self, count: int) -> None:
        self._library = library()
        self._pool = self._library.pool_new(count)
        self.count = count

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self._library.pool_free(self._pool)

    def __getitem__(self, index: int) -> Conn:
        found: Conn = self._pool.contents.conns[index]
        return found

    def __iter__(self) -> Iterator[Conn]:
        return (self[index] for index in range(self.count))

    @property
    def ready(self) -> int:
        count: int = self._pool.contents.ready
        return count

    def open(
        self,
        index: int,
        port: int,
        dialect: Dialect,
        path: str,
        opening: bytes,
        *,
        updates: int = 0,
    ) -> None:
        """Begin to connect; `opening` is said once the websocket is open. The link counts as ready
        when its opening is answered and `updates` updates have come."""
        pool, asked = self._pool, request(port, path)
        self._library.pool_open(pool, index, port, dialect, asked, opening, len(opening), updates)

    def until_ready(self, count: int, *, seconds: float = 30.0) -> None:
        """RawFailure if fewer are ready by then."""
        ready = self._library.pool_until_ready(self._pool, count, seconds)
        if ready < count:
            raise RawFailure(f"{ready} of {count} connections are ready; {self.complaints()}")

    def complaints(self) -> str:
        """What servers said that was no good; the first few of it."""
        found = {
            f"connection {i}: state {c.state}, code {c.close_code}, {c.said.decode()!r}"
            for i in range(self.count)
            if (c := self[i]).said or (c.state == CLOSED and c.close_code)
        }
        return "; ".join(sorted(found)[:3]) or "no complaint was heard"

    def say(self, index: int, data: bytes) -> None:
        self._library.pool_say(self._pool, index, data, len(data))

    def close(self, index: int) -> None:
        self._library.pool_close(self._pool, index)

    def idle(self, seconds: float) -> None:
        """Answer pings and say heartbeats for a while."""
        self._library.pool_idle(self._pool, seconds)

    def probe(self, index: int, *, interval_s: float, stop: c_int) -> float:
        """Ping until `stop` is not 0; the longest wait for an answer, in seconds; -1 if the
        connection ended."""
        worst: float = self._library.pool_probe(self._pool, index, interval_s, byref(stop))
        return worst

    def follow(self, readers: Iterable[int], group: Group) -> None:
        """From now on what these connections get is what `group` counts."""
        for index in readers:
            self._library.pool_follow(self._pool, index, byref(group.struct))

    def run(self, senders: Sequence[Sender], *, seconds: float, most_s: float) -> float:
        """Send for `seconds`, then wait for the rest, `most_s` in all; returns when it began.
        RawFailure if something does not come."""
        pointers = (c_void_p * len(senders))(
            *(ctypes.addressof(sender.struct) for sender in senders)
        )
        began = c_double()
        how = self._library.pool_run(
            self._pool, cast(pointers, c_void_p), len(senders), seconds, most_s, byref(began)
        )
        if how:
            what = "not all came in time" if how == 1 else "a sender was cut off"
            raise RawFailure(f"{what}; {self.complaints()}")
        return began.value

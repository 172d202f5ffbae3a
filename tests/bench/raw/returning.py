"""A relay restarts, and all its clients come back.

Each client dials again as the real ones do: a Yjs client after 100 ms, doubled up to 2.5 s, without
jitter (y-websocket); a native one as the engine's `keeping` does. A refused or cut connection
is what a restart looks like; any other end is an error that would reach an application. Must never
know: what clients edit.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.bench.raw.client import CLOSED, Dialect, Messages, Pool, RawFailure, Sender
from tests.bench.raw.framing import STEP_1_OF_NOTHING, framed
from tests.bench.raw.joining import now_ms
from tests.bench.raw.servers import Server, ours
from tests.bench.raw.traffic import Courier, NativeWriter, event_bytes, greeting
from tests.running_relay import RunningRelay
from weft_engine.sync.driving.keeping import delay_s

AT_ONCE = 100
BACK_S = 90.0
YJS_FIRST_S, YJS_LAST_S = 0.1, 2.5
_RESTARTING = {1000, 1001, 1005, 1006, 1012, 503}
"""How a relay that goes away may end a connection, and one that is full or going may answer."""


@dataclass
class Client:
    """What a client remembers while it is away."""

    server: Server
    author: NativeWriter
    store: bytes = field(default_factory=lambda: os.urandom(16))
    attempt: int = 0
    dial_s: float | None = None

    def opening(self, ticket: bytes | None) -> bytes:
        if self.server.dialect is not Dialect.NATIVE:
            return framed(STEP_1_OF_NOTHING)
        context = self.author.context
        listed = [] if self.author.tip is None else [(context, self.author.fingerprint())]
        return greeting([context], now_ms=now_ms(), store=self.store, ticket=ticket, listed=listed)

    def pause_s(self) -> float:
        """How long it waits before it dials again."""
        self.attempt += 1
        if self.server.dialect is Dialect.NATIVE:
            return delay_s(self.attempt, random.random())
        return min(YJS_LAST_S, YJS_FIRST_S * 2.0 ** (self.attempt - 1))


@dataclass(frozen=True)
class Returned:
    """Seconds since the old relay was told to go: until it was gone, until the new one listened,
    until half and all of the clients were back; then until all had written durably again."""

    gone_s: float
    up_s: float
    half_s: float
    all_s: float
    written_s: float
    dials: int


def returned(relay: RunningRelay, *, clients: int, dialects: Sequence[Dialect]) -> Returned:
    """Restart `relay` while so many clients are connected, spread over the dialects. RawFailure if
    one of them was told what it must not be told, or does not come back."""
    servers = [ours(relay, dialect) for dialect in dialects]
    members = [
        Client(servers[i % len(servers)], NativeWriter(f"bench/member/{i}", now_ms=now_ms()))
        for i in range(clients)
    ]
    with Pool(clients) as pool:
        for start in range(0, clients, AT_ONCE):
            some = range(start, min(clients, start + AT_ONCE))
            for index in some:
                _dial(pool, index, members[index])
            pool.until_ready(some.stop, seconds=60)
        _write(pool, members)
        began_s = time.monotonic()
        with _Restart(relay) as restart:
            half_s = 0.0
            while not (restart.is_up and pool.ready == clients and all(m.attempt for m in members)):
                if time.monotonic() - began_s > BACK_S:
                    raise RawFailure(f"{pool.ready} of {clients} are back; {pool.complaints()}")
                _redial(pool, members)
                pool.idle(0.01)
                if not half_s and restart.is_up and pool.ready >= clients / 2:
                    half_s = time.monotonic() - began_s
            all_s = time.monotonic() - began_s
            dials = sum(member.attempt for member in members)
            _write(pool, members)
            written_s = time.monotonic() - began_s
    return Returned(
        restart.gone_s - began_s, restart.up_s - began_s, half_s, all_s, written_s, dials
    )


class _Restart:
    """Ends a relay and starts it again, in a thread: its clients do not wait for that."""

    def __init__(self, relay: RunningRelay) -> None:
        self.gone_s = self.up_s = 0.0
        self._relay = relay
        self._again: RunningRelay | None = None
        self._thread = threading.Thread(target=self._run, name="restart")

    @property
    def is_up(self) -> bool:
        return self._again is not None

    def __enter__(self) -> _Restart:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        if self._again is not None:
            self._again.end()

    def _run(self) -> None:
        self._relay.end()
        self.gone_s = time.monotonic()
        self._again = self._relay.again()
        self.up_s = time.monotonic()


def _dial(pool: Pool, index: int, client: Client) -> None:
    said = client.opening(bytes(pool[index].ticket) if any(pool[index].ticket) else None)
    server, path = client.server, client.server.room_path(client.author.context)
    pool.open(index, server.port, server.dialect, path, said)


def _redial(pool: Pool, members: Sequence[Client]) -> None:
    """Dial for those whose pause is over."""
    now = time.monotonic()
    for index, conn in enumerate(pool):
        client = members[index]
        if conn.state != CLOSED:
            continue
        if client.dial_s is None:
            if conn.close_code > 0 and conn.close_code not in _RESTARTING:
                raise RawFailure(f"client {index} was told {conn.close_code} {conn.said!r}")
            client.dial_s = now + client.pause_s()
        elif client.dial_s <= now:
            client.dial_s = None
            _dial(pool, index, client)


def _write(pool: Pool, members: Sequence[Client]) -> None:
    """Each native client writes a record and waits for its acknowledgement."""
    event, senders = event_bytes(100), []
    for index, client in enumerate(members):
        client.attempt = 0
        if client.server.dialect is not Dialect.NATIVE:
            continue
        made = [client.author.record(event)]
        said = Messages([Courier().message(made, [client.author.sign()])], [1])
        senders.append(Sender(index, said, unacked_max=1))
    pool.run(senders, seconds=60, most_s=60)

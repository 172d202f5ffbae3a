"""What is new overtakes nothing that a link has to send, though not all is asked each time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tests.linked import Store, link, settle, stores
from weft_engine.names import Position
from weft_engine.records.identity import SignatureItem
from weft_engine.storage.ledger import Stored
from weft_engine.sync.driving.burst import Burst
from weft_engine.sync.driving.carrying import Carrying, Lane
from weft_engine.sync.driving.traffic import Traffic
from weft_engine.sync.driving.transport import Hearer, Ready
from weft_engine.sync.end.live import Body, compose, news_of
from weft_engine.sync.end.session import Session
from weft_engine.sync.framing.messages import Ack


class Written:
    """A direct transport that keeps what is written."""

    def __init__(self) -> None:
        self.is_congested = False
        self.frames: list[bytes] = []

    def write(self, head: bytes, body: bytes = b"", /) -> None:
        self.frames.append(head + body)

    def ready(self, head: bytes, body: bytes, /) -> Ready:
        return self.frames.append, head + body

    def attach(self, hearer: Hearer, /) -> None: ...

    def hold_reading(self) -> None: ...

    def go_on_reading(self) -> None: ...

    async def send(self, frame: bytes, /) -> None: ...

    async def receive(self) -> bytes | None: ...

    async def close(self, code: str, reason: str, /) -> None: ...


class Nobody:
    """Hears what happens, and does nothing."""

    def frame_received(self, frame: bytes, /) -> None: ...

    def transport_lost(self, why: str = "", /) -> None: ...

    def transport_drained(self) -> None: ...


class Pushed:
    """A link of `store` as far as it is pushed to, and bodies of what is new there."""

    def __init__(self, store: Store, session: Session) -> None:
        self._store = store
        self.session = session
        self.transport = Written()
        self.burst = Burst()
        self.carrying = Carrying(
            self.transport, session, Traffic(), self.burst, begin=_begin, failed=_failed
        )
        self.carrying.start(Nobody())
        self._heard: list[tuple[Sequence[Stored], Sequence[SignatureItem]]] = []
        store.journal.listen_commits(lambda *heard: self._heard.append(heard))

    async def news(self, text: str) -> Body:
        """Of a record that is journaled now."""
        await self._store.write("notes", text)
        stored, items = self._heard.pop()
        (body,) = compose(news_of(stored, items, sign=self._signed), Position(stored[-1].position))
        return body

    def _signed(self, stored: Sequence[Stored]) -> list[SignatureItem]:
        return [self._store.key.sign(one.record.hash) for one in stored]


@asynccontextmanager
async def settled() -> AsyncIterator[Pushed]:
    """At a relay, of a client that has everything."""
    async with stores(2) as (relay, client):
        end, at_relay = link(client, relay)
        await settle((end, at_relay))
        at_relay.stop()
        yield Pushed(relay, at_relay.session)


def _begin(lane: Lane) -> None:
    raise AssertionError("a direct transport needs no lanes")


def _failed(error: BaseException) -> None:
    raise error


async def test_what_is_new_waits_behind_what_came_between() -> None:
    async with settled() as pushed:
        carrying, following = pushed.carrying, pushed.session.following
        assert carrying.push(await pushed.news("one"))
        assert carrying.push(await pushed.news("two"))
        pushed.burst.end()
        assert len(pushed.transport.frames) == 2

        # Somebody else's push was not taken, say: this link reads it, and what is behind it.
        following.told((await pushed.news("three")).stored)
        carrying.flush()
        assert not carrying.push(await pushed.news("four"))
        pushed.burst.end()
        assert len(pushed.transport.frames) == 2


async def test_what_a_question_may_change_is_looked_at_again() -> None:
    async with settled() as pushed:
        assert pushed.carrying.push(await pushed.news("one"))
        pushed.carrying.unsettle()
        pushed.session.following.told((await pushed.news("two")).stored)
        assert not pushed.carrying.push(await pushed.news("three"))


async def test_what_is_acknowledged_leaves_before_what_is_new() -> None:
    async with settled() as pushed:
        assert pushed.carrying.push(await pushed.news("one"))
        pushed.session.sending.acknowledge([Ack(1, 1, ())])
        pushed.carrying.flush()
        assert pushed.carrying.push(await pushed.news("two"))
        pushed.burst.end()
        kinds = [frame[2] for frame in pushed.transport.frames]
        assert kinds == [4, 5, 4], "records, their acknowledgement, records"


async def test_nothing_is_pushed_to_who_does_not_read() -> None:
    async with settled() as pushed:
        assert pushed.carrying.push(await pushed.news("one"))
        pushed.transport.is_congested = True
        assert not pushed.carrying.push(await pushed.news("two"))

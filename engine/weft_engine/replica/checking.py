"""Comparing what event indexes say with other regions, at a low rate: a bug or a bad disk shows.

Stores with the same records have the same events in the same order. Now and then each region tells
those it is linked with what some contexts amount to, one batch after the other over all of them.
Who hears it compares that with its own, where its records are the same. If it differs, it makes its
own index anew from the journal, finds out by that whether it was its own that was wrong, and
answers once with what it is now, so that the other end does the same.

What is not indexed is passed over: a relay makes no index of what nobody reads there.

Nothing here is in a hurry: everything is read in short steps with pauses between them. Must never
know: frames, what an operator is shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from weft_engine.errors import MachineError, StoreClosed, WeftError
from weft_engine.limits import (
    CHECK_EVERY_S,
    CHECK_FOUND_MAX,
    CHECK_PAUSE_S,
    CHECK_ROUND_S,
    CHECK_SHARE,
    CHECKED_CONTEXTS_MAX,
    CHECKED_EVENTS_MAX,
    CHECKED_FOLDED_MAX,
    CHECKED_ROWS_MAX,
)
from weft_engine.names import ContextName, Position
from weft_engine.replica.projector import Projector
from weft_engine.storage import reading
from weft_engine.storage.context_digest import ContextDigest, checkable, damaged_records
from weft_engine.storage.journal import SqliteJournal
from weft_engine.storage.projection import drop_index
from weft_engine.sync.end.ending import State
from weft_engine.sync.end.regions.checking import Entry
from weft_engine.sync.end.session import Session

if TYPE_CHECKING:
    from weft_engine.sync.driving.link import Link

_LOOK_S: Final = 1.0
_CONTEXT_S, _EVENT_S, _FOLDED_S = 2e-4, 8e-6, 1.7e-4
"""What these cost: a context that is looked at, an event that is read, one that is indexed."""
_TRIES: Final = 3


@dataclass(slots=True)
class Difference:
    """Between our index of a context and another region's; '' if ours was wrong at first sight.
    `text` says how it came out; `is_here`: ours was wrong, or its records are."""

    context: ContextName
    region: str
    text: str
    is_here: bool


@dataclass(slots=True)
class _Room:
    """What may still be done for one message."""

    events: int = CHECKED_EVENTS_MAX
    folded: int = CHECKED_FOLDED_MAX

    @property
    def spent_s(self) -> float:
        """About what was done of it, in seconds of CPU."""
        read, folded = CHECKED_EVENTS_MAX - self.events, CHECKED_FOLDED_MAX - self.folded
        return read * _EVENT_S + folded * _FOLDED_S


class Checks:
    """Of one store. `mended` is called with a context whose index was made anew."""

    def __init__(
        self,
        journal: SqliteJournal,
        projector: Projector,
        *,
        mended: Callable[[ContextName], Awaitable[None]],
    ) -> None:
        self._journal = journal
        self._projector = projector
        self._mended = mended
        self._found: dict[tuple[ContextName, str], Difference] = {}
        self._anew: dict[ContextName, tuple[bytes, bytes]] = {}
        """Of contexts whose index was made anew: the fingerprint, and its digest since."""
        self._after = 0
        """The row of the context that was looked at last."""
        self._count = 0
        """About how many contexts there are."""
        self._spent_s = 0.0
        """About what the last message cost, in seconds of CPU."""
        self.compared = 0
        """Contexts that were compared with what another region says."""

    @property
    def differences(self) -> Sequence[Difference]:
        """What was found. That an index was wrong here stays; that another's was, until that
        region says the same as we."""
        return list(self._found.values())

    async def keep(
        self,
        links: Callable[[], Iterable[Link]],
        *,
        say: Callable[[Difference], None],
        every_s: float = CHECK_EVERY_S,
    ) -> None:
        """Tell and compare over the `links` that there are with other regions, until this is
        cancelled. `say` is told of each difference once, when it is known how it came out."""
        loop = asyncio.get_running_loop()
        due_s = loop.time() + every_s
        while True:
            await asyncio.sleep(min(_LOOK_S, every_s / 4))
            try:
                for link in tuple(links()):
                    if link.session.between.checking.has_received:
                        await self._compare(link, say)
                if loop.time() >= due_s:
                    await self._tell(links, say)
                    due_s = loop.time() + self._pause_s(links(), every_s)
            except MachineError:
                # Whoever reads or writes is told of the disk; here it is tried again later.
                due_s = loop.time() + every_s

    def _pause_s(self, links: Iterable[Link], every_s: float) -> float:
        """Until the next message: so long that all contexts take CHECK_ROUND_S, or that telling,
        and comparing what as many neighbours tell, take no more than CHECK_SHARE of a core."""
        shares = 1 + sum(_is_ready(link.session) for link in links)
        due_s = CHECK_ROUND_S * CHECKED_CONTEXTS_MAX / max(1, self._count)
        return min(every_s, max(due_s, shares * self._spent_s / CHECK_SHARE))

    # ---- telling ------------------------------------------------------------------------------

    async def _tell(
        self, links: Callable[[], Iterable[Link]], say: Callable[[Difference], None]
    ) -> None:
        if not any(_is_ready(link.session) for link in links()):
            return
        entries: list[Entry] = []
        room = _Room()
        rows = await self._journal.read(
            lambda c: reading.indexed_contexts(c, self._after, CHECKED_ROWS_MAX)
        )
        self._count = await self._journal.read(reading.last_context)
        last = looked = 0
        for id_, name in rows:
            if len(entries) >= CHECKED_CONTEXTS_MAX or room.events <= 0 or room.folded <= 0:
                break
            last = id_
            looked += 1
            digest = await self._sound(name, room, say)
            if digest is not None:
                entries.append((name, digest.fingerprint, digest.value))
        else:
            last = self._after + CHECKED_ROWS_MAX
        self._after = last if last < self._count else 0
        self._spent_s = looked * _CONTEXT_S + room.spent_s
        for link in tuple(links()):
            if _is_ready(link.session):
                covers = link.session.interest.covers
                _say(link, [entry for entry in entries if covers(entry[0])])

    # ---- comparing ----------------------------------------------------------------------------

    async def _compare(self, link: Link, say: Callable[[Difference], None]) -> None:
        session = link.session
        peer = session.peer
        assert peer is not None, "it has told something"
        assert peer.region is not None, "only regions tell"
        answers: list[Entry] = []
        room = _Room()
        for name, fingerprint, theirs in session.between.checking.take():
            if session.end is not None or room.events <= 0:
                break
            if not session.interest.covers(name):
                continue
            own = await self._sound(name, room, say, only=fingerprint)
            if own is None:
                continue
            self.compared += 1
            if own.value == theirs:
                self._agrees(name, peer.region)
            elif self._anew.get(name) == (fingerprint, own.value):
                self._differs(Difference(name, peer.region, _right(peer.region), False), say)
            else:
                answer = await self._mend(name, peer.region, own, theirs, room, say)
                if answer is not None:
                    answers.append(answer)
        if session.end is None:
            _say(link, answers)

    async def _mend(
        self,
        name: ContextName,
        region: str,
        own: ContextDigest,
        theirs: bytes,
        room: _Room,
        say: Callable[[Difference], None],
    ) -> Entry | None:
        """Make our index anew and tell how that came out; what it says then, if it can be told."""
        damaged = await self._damaged(name)
        if damaged:
            text = (
                f"{damaged} of its records are not what they were when they were journaled: its"
                f" index differs from region {region}'s"
            )
            self._differs(Difference(name, region, text, True), say)
            return None
        await self._drop(name)
        try:
            await self._projector.catch_up(name)
        except (MachineError, StoreClosed):
            raise
        except WeftError as error:
            text = f"its index can't be made anew from its records: {error.message}"
            self._differs(Difference(name, region, text, True), say)
            return None
        await self._mended(name)
        anew = await self._digest(name, room, only=own.fingerprint)
        if anew is None:
            # It has grown meanwhile. What is compared next is the new index.
            text = f"its index differed from region {region}'s and was made anew"
            self._differs(Difference(name, region, text, True), say)
            return None
        if len(self._anew) >= CHECK_FOUND_MAX:
            del self._anew[next(iter(self._anew))]
        self._anew[name] = (own.fingerprint, anew.value)
        if anew.value == own.value:
            self._differs(Difference(name, region, _right(region), False), say)
        else:
            text = f"its index was wrong here and was made anew: it differed from region {region}'s"
            if anew.value != theirs:
                text += ", and still does"
            self._differs(Difference(name, region, text, True), say)
        return name, own.fingerprint, anew.value

    async def _drop(self, name: ContextName) -> None:
        async with self._projector.paused(name):
            state = await self._journal.read(lambda c: reading.context(c, name))
            if state is not None:
                await self._journal.write(partial(drop_index, context_id=state.id))

    async def _damaged(self, name: ContextName) -> int:
        """How many of its records are."""
        damaged, after = 0, Position(0)
        while True:
            question = partial(damaged_records, name=name, after=after)
            found, following = await self._journal.read(question)
            damaged += found
            if following is None:
                return damaged
            after = following
            await asyncio.sleep(CHECK_PAUSE_S)

    def _agrees(self, name: ContextName, region: str) -> None:
        found = self._found.get((name, region))
        if found is not None and not found.is_here:
            del self._found[name, region]

    def _differs(self, found: Difference, say: Callable[[Difference], None]) -> None:
        key = (found.context, found.region)
        known = self._found.pop(key, None)
        if known is not None and known.is_here and not found.is_here:
            found = known  # What was wrong here is the graver.
        self._found[key] = found
        if len(self._found) > CHECK_FOUND_MAX:
            del self._found[next(iter(self._found))]
        if known is None or known.text != found.text:
            say(found)

    # ---- reading ------------------------------------------------------------------------------

    async def _sound(
        self,
        name: ContextName,
        room: _Room,
        say: Callable[[Difference], None],
        *,
        only: bytes | None = None,
    ) -> ContextDigest | None:
        """As `_digest`. What an index that is spoilt can bring about is not known beforehand: it is
        told, the index is dropped, and nothing else suffers."""
        try:
            return await self._digest(name, room, only=only)
        except (MachineError, StoreClosed):
            raise
        except Exception as error:  # noqa: BLE001 - told, and mended: see above
            why = f"{type(error).__name__}: {error}"
            text = f"its index could not be brought up to date and was dropped ({why})"
            await self._drop(name)
            self._differs(Difference(name, "", text, True), say)
            return None

    async def _digest(
        self, name: ContextName, room: _Room, *, only: bytes | None = None
    ) -> ContextDigest | None:
        """What the index of a context says, complete; None if it can't be compared, is too far
        behind for now, is changing, or has another fingerprint than `only`."""
        for _ in range(_TRIES):
            if not await self._bring_up(name, room, only):
                return None
            resets = self._projector.resets
            digest = ContextDigest(name)
            is_done = await self._read(digest)
            room.events -= digest.events
            if is_done and resets == self._projector.resets:
                return None if only not in (None, digest.fingerprint) else digest
        return None

    async def _read(self, digest: ContextDigest) -> bool:
        """Whether it came to its end."""
        is_done: bool | None = await self._journal.read(digest.step)
        while is_done is False:
            # So that all others who read have their turns.
            await asyncio.sleep(CHECK_PAUSE_S)
            is_done = await self._journal.read(digest.step)
        return is_done is True

    async def _bring_up(self, name: ContextName, room: _Room, only: bytes | None) -> bool:
        """Whether the index is complete, as far as there is room for that."""
        while True:
            state = await self._journal.read(lambda c: checkable(c, name))
            if state is None or only not in (None, state.fingerprint):
                return False
            if not state.projected:
                return False  # Nobody reads it here: an index would be made for this only.
            if state.projected >= state.position:
                return True
            if room.folded <= 0:
                return False
            room.folded -= max(1, await self._projector.advance(name))
            await asyncio.sleep(CHECK_PAUSE_S)


def _is_ready(session: Session) -> bool:
    return session.state is State.LIVE and session.is_between_regions


def _say(link: Link, entries: Sequence[Entry]) -> None:
    if entries:
        link.session.between.tell_check(entries)
        link.changed()


def _right(region: str) -> str:
    return f"its index is right here, and region {region}'s differs"

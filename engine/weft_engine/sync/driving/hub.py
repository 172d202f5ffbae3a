"""The hub: tells all links of a replica what is committed, without asking each of them each time.

Invariants:

 1. A link hears of every commit in its interest exactly once, in journal order: it is handed the
    bytes (`push`), or told the positions and reads by itself. So it skips nothing, and what it did
    not take waits in the journal, not in memory.
 2. The bytes are only handed to a link that has nothing else to send: whatever was told before has
    left in front of them.
 3. Who offered a record hears of it before its admission is answered: it is acknowledged, and does
    not go back.

Commits that come in one turn of the event loop go out together; while the loop is busy with them
the next gather. Must never know: frames' bytes, sockets, the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from weft_engine.limits import CURSOR_BYTES, LINKS_PER_TURN, TICK_S
from weft_engine.names import ContextName, Position, RecordHash
from weft_engine.records.envelope import Kind
from weft_engine.records.identity import SignatureItem
from weft_engine.storage.ledger import Stored
from weft_engine.sync.audience import Audience
from weft_engine.sync.driving.burst import Burst
from weft_engine.sync.driving.forwarding import Forwarding
from weft_engine.sync.driving.frontiers import Frontiers
from weft_engine.sync.driving.kept_tree import KeptTree
from weft_engine.sync.driving.line import Line
from weft_engine.sync.end.head import Head
from weft_engine.sync.end.live import Body, News, Sign, compose, news_of, nothing_of
from weft_engine.sync.end.pages import Pages
from weft_engine.sync.end.regions.claims import Claims
from weft_engine.sync.end.regions.repeating import Doubts
from weft_engine.sync.end.session import Session
from weft_engine.sync.interest import Interest

CommitListener = Callable[[Sequence[Stored], Sequence[SignatureItem]], None]


class Ear(Protocol):
    """A link, as the hub sees it."""

    @property
    def session(self) -> Session: ...

    def push(self, body: Body, /) -> bool:
        """Send it now, at the latest when the hub ends the burst, if nothing is in front of it and
        there is room; whether that was so."""

    def changed(self) -> None:
        """There may be something to do."""

    def tick(self, now_ms: int, /) -> None:
        """About a second has passed."""

    def failed(self, error: BaseException, /) -> None:
        """One of these raised: end."""


class Commits(Protocol):
    """Where commits are heard of; `storage.journal.SqliteJournal` is one."""

    def listen_commits(self, listener: CommitListener, /) -> Callable[[], None]: ...


@dataclass(slots=True, eq=False)
class _Group:
    """Links with the same interest."""

    interest: Interest
    ears: dict[Ear, None] = field(default_factory=dict)


class Hub:
    """One for each replica. It hears of commits while it has links. `sign` signs our own records;
    without it links read and sign them by themselves."""

    def __init__(self, commits: Commits, *, sign: Sign | None = None) -> None:
        self.head = Head(Position(0))
        self.pages = Pages()
        """What links have read."""
        self.frontiers = Frontiers()
        self.tree = KeptTree(commits)
        """Over all contexts, once a region asks."""
        self.near: dict[bytes, None] = {}
        """Stores to which a round trip took no time last."""
        self.line = Line()
        """In which order they send it."""
        self.claims = Claims()
        """Which of them was asked for what is missing."""
        self.burst = Burst()
        """What they are pushed, in one call of `flush`."""
        self.doubts = Doubts()
        """Which peers differed while they were linked."""
        self._commits = commits
        self._sign = sign
        self._stop: Callable[[], None] | None = None
        self._ears: dict[Ear, _Group | None] = {}
        self._groups: dict[Interest, _Group] = {}
        self._audience: Audience[_Group] = Audience()
        self._offered: dict[RecordHash, dict[Ear, None]] = {}
        self.forwarding = Forwarding(is_coming=self._offered.__contains__)
        """What its links to other regions share."""
        self._attentive: dict[Ear, None] = {}
        """They wait for records by name, and look at each that is committed."""
        self._waiting: dict[Ear, None] = {}
        """Somebody waits for something to become true of them."""
        self._came: dict[Ear, None] = {}
        """What is new came from these, among others."""
        self._answered: dict[Ear, None] = {}
        """The journal has answered what they offered."""
        self._news: list[News] = []
        self._ticking: asyncio.TimerHandle | None = None

    # ---- links --------------------------------------------------------------------------------

    def join(self, ear: Ear) -> None:
        """From its begin."""
        self._ears[ear] = None
        if self._stop is None:
            self._stop = self._commits.listen_commits(self._committed)
            self._plan_tick()

    def follow(self, ear: Ear) -> None:
        """The interest of its session is known, or has changed."""
        if ear not in self._ears:
            return
        interest = ear.session.interest
        former = self._ears[ear]
        if former is not None:
            if former.interest == interest:
                return
            self._unfollow(ear, former)
        group = self._groups.get(interest)
        if group is None:
            group = self._groups[interest] = _Group(interest)
            self._audience.join(group, interest)
        group.ears[ear] = None
        self._ears[ear] = group

    def leave(self, ear: Ear) -> None:
        """Its end; harmless when repeated."""
        group = self._ears.pop(ear, None)
        if group is not None:
            self._unfollow(ear, group)
        for ears in (self._attentive, self._waiting, self._came, self._answered):
            ears.pop(ear, None)
        for hash_ in ear.session.incoming.offered:
            self._forget(hash_, ear)
        self.forwarding.leave(ear)
        if not self._ears and self._stop is not None:
            self._stop()
            self._stop = None
            self._news = []
            self.pages.clear()
            self.frontiers.clear()
            if self._ticking is not None:
                self._ticking.cancel()

    def attend(self, ear: Ear) -> None:
        """Its session waits for records by name."""
        if ear in self._ears:
            self._attentive[ear] = None

    def wait(self, ear: Ear, *, is_waiting: bool) -> None:
        """Whether somebody waits for something to become true of its session."""
        if is_waiting and ear in self._ears:
            self._waiting[ear] = None
        else:
            self._waiting.pop(ear, None)

    # ---- records that links offer -------------------------------------------------------------

    def offered(self, ear: Ear, hashes: Iterable[RecordHash]) -> None:
        """They are on their way into the journal."""
        for hash_ in hashes:
            self._offered.setdefault(hash_, {})[ear] = None

    def admitted(self, ear: Ear, hashes: Iterable[RecordHash]) -> None:
        """The journal has answered; what it parked is still on its way."""
        still = ear.session.incoming.offered
        for hash_ in hashes:
            if hash_ not in still:
                self._forget(hash_, ear)

    def answered(self, ear: Ear) -> None:
        """It may have something to do for that: once for all that one commit brought, and before
        what is new is handed out, so that it acknowledges first."""
        if not self._answered and not self._news:
            asyncio.get_running_loop().call_soon(self._tell_answered)
        self._answered[ear] = None

    def _tell_answered(self) -> None:
        ears, self._answered = self._answered, {}
        for ear in ears:
            _look(ear)

    # ---- commits ------------------------------------------------------------------------------

    def _committed(self, stored: Sequence[Stored], items: Sequence[SignatureItem]) -> None:
        self.head.committed = max(self.head.committed, stored[-1].position)
        told: dict[Ear, None] = dict(self._attentive)
        sources: dict[ContextName, dict[Ear, None]] = {}
        """Those that offered all records of a context."""
        for one in stored:
            if one.record.envelope.kind is Kind.ERASE:
                self.pages.forget(one.record.envelope.context)
            ears = self._offered.pop(one.record.hash, None)
            if ears is not None:
                told.update(ears)
            if self.forwarding.is_on:
                context = one.record.envelope.context
                sources[context] = _in_both(sources.get(context), ears or {})
        self.forwarding.committed(stored)
        for ear in told:
            if ear.session.following.journaled(stored):
                _look(ear)
            if ear.session.following.came:
                self._came[ear] = None
            if not ear.session.incoming.awaits_names:
                self._attentive.pop(ear, None)
        if not self._news:
            asyncio.get_running_loop().call_soon(self.flush)
        found = news_of(stored, items, sign=self._sign)
        for news in found if sources else ():
            neighbours = [ear.session.between.neighbour for ear in sources[news.context]]
            news.sources = [one for one in neighbours if one is not None]
        self._news += found

    def flush(self) -> None:
        """Hand out what is new."""
        self._tell_answered()
        news, self._news = self._news, []
        if not news:
            return
        newest = max((one.stored[-1] for one in news), key=lambda one: one.position)
        head = newest.position
        if head > self.head.position:
            self.head.position = head
            self.head.row = newest.record.hash[:CURSOR_BYTES]
        of: dict[ContextName, list[News]] = {}
        for one in news:
            of.setdefault(one.context, []).append(one)
        covered: dict[_Group, list[ContextName]] = {}
        for context in of:
            for group in self._audience.of(context):
                covered.setdefault(group, []).append(context)
        composed: dict[tuple[Position, ...], list[Body]] = {}
        """By where the news begin that are in them."""
        has_regions = self.forwarding.is_on
        for group, names in covered.items():
            key = tuple(names)
            if len(key) == 1:
                some: Sequence[News] = of[key[0]]
            else:
                some = news if len(key) == len(of) else _within(news, frozenset(key))
            ears = tuple(group.ears)
            if len(ears) == 1 and all(one.hashes <= ears[0].session.following.came for one in some):
                # Who writes alone in a context is told of its own only: no bytes are made for it.
                _give(ears[0], [nothing_of(some, head)])
                continue
            bodies = None
            for ear in ears:
                if has_regions and ear in self.forwarding:
                    left = self.forwarding.sent_here(ear, some)
                    if left:
                        _give(ear, _composed(composed, left, head))
                    continue
                if bodies is None:
                    bodies = _composed(composed, some, head)
                _give(ear, bodies)
        self.burst.end()
        for ear in self._came:
            ear.session.following.handed_out()
        self._came.clear()
        for ear in tuple(self._waiting):
            _look(ear)

    # ---- time ---------------------------------------------------------------------------------

    def _plan_tick(self) -> None:
        self._ticking = asyncio.get_running_loop().call_later(TICK_S, self._tick, ())

    def _tick(self, left: Sequence[Ear]) -> None:
        """Some links at a time, so that nobody waits for thousands of them."""
        loop = asyncio.get_running_loop()
        ears = left or tuple(self._ears)
        rest = ears[LINKS_PER_TURN:]
        if rest:
            self._ticking = loop.call_later(0, self._tick, rest)
        else:
            self._plan_tick()
            self.pages.tick()
        now_ms = int(loop.time() * 1000)
        for ear in ears[:LINKS_PER_TURN]:
            if ear in self._ears:
                try:
                    ear.tick(now_ms)
                except Exception as error:  # noqa: BLE001 - it ends this link, and no other
                    ear.failed(error)

    # ---- inside -------------------------------------------------------------------------------

    def _unfollow(self, ear: Ear, group: _Group) -> None:
        del group.ears[ear]
        if not group.ears:
            del self._groups[group.interest]
            self._audience.leave(group)

    def _forget(self, hash_: RecordHash, ear: Ear) -> None:
        ears = self._offered.get(hash_)
        if ears is not None:
            ears.pop(ear, None)
            if not ears:
                del self._offered[hash_]


def _within(news: Sequence[News], contexts: frozenset[ContextName]) -> list[News]:
    return [one for one in news if one.context in contexts]


def _composed(
    composed: dict[tuple[Position, ...], list[Body]], news: Sequence[News], head: Position
) -> list[Body]:
    which = tuple([one.stored[0].position for one in news])
    if which not in composed:
        composed[which] = compose(news, head)
    return composed[which]


def _in_both(some: dict[Ear, None] | None, others: dict[Ear, None]) -> dict[Ear, None]:
    return others if some is None else {ear: None for ear in some if ear in others}


def _look(ear: Ear) -> None:
    try:
        ear.changed()
    except Exception as error:  # noqa: BLE001 - it ends this link, and no other
        ear.failed(error)


def _give(ear: Ear, bodies: Sequence[Body]) -> None:
    """Hand these to a link, or tell it where they are from the first that it can't take."""
    following = ear.session.following
    try:
        for index, body in enumerate(bodies):
            if following.came:
                body = body.without(following.came)
            if not ear.push(body):
                following.told([one for some in bodies[index:] for one in some.stored])
                ear.changed()
                return
    except Exception as error:  # noqa: BLE001 - it ends this link, and no other
        ear.failed(error)

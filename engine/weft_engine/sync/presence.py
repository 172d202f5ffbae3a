"""Presence: who is in a context now and what they show of themselves, beside the journal.

The rules are those of Yjs awareness, so what a Yjs client shows and what a Weft client shows are
one thing: each client has a clock; a state is taken if its clock is higher than the known one, or
equal and the client has left. A state that is not told anew in time, with a higher clock, is over.

Of each client a board only ever moves on: to a higher clock, or from a state to its end. Who has
left is remembered as long as a state lasts, so that an older state which still travels does not
bring it back. Hence boards that pass on what was news to them agree in the end, in whatever order
and over whatever ways they hear of it, and nothing travels in circles.

Must never know: frames, links, what time it is.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NoReturn

from weft_engine.errors import MalformedFrame
from weft_engine.limits import (
    PRESENCE_ALL_BYTES_MAX,
    PRESENCE_ALL_MAX,
    PRESENCE_CLIENTS_MAX,
    PRESENCE_CONTEXT_BYTES_MAX,
    PRESENCE_LASTS_MS,
    PRESENCE_STATE_BYTES,
)
from weft_engine.names import ContextName
from weft_engine.sync.audience import Audience
from weft_engine.sync.framing.messages import PresenceState
from weft_engine.sync.interest import EVERYTHING, Interest

Told = Callable[[ContextName, tuple[PresenceState, ...], object], None]
"""Called with a context, what has changed in it, and the source that told it. It tells nothing
itself before it has returned: others have not heard yet."""

_LEFT: Final = "null"


@dataclass(slots=True)
class _Shown:
    state: PresenceState
    told_ms: int
    source: object
    """Who spoke last for this client; None once that one is gone."""
    is_page: bool
    """That is known to be a client itself: this one, or one that repeats what it hears."""
    owner: object
    """The client's own source, while that lasts: then no other one's end counts for it."""


class Presence:
    """What is shown in each context. A `source` is whoever tells it: a link, a connection. Times
    are milliseconds of one clock that never steps back."""

    def __init__(self) -> None:
        self._rooms: dict[ContextName, dict[int, _Shown]] = {}
        self._oldest: dict[tuple[ContextName, int], _Shown] = {}
        """All that is in the rooms, as told, from the longest ago on."""
        self._spoken: dict[object, dict[tuple[ContextName, int], None]] = {}
        self._owned: dict[object, dict[tuple[ContextName, int], None]] = {}
        self._bytes_in: Counter[ContextName] = Counter()
        self._bytes_by: Counter[object] = Counter()
        """Of the states in each context, and of those for which each source spoke last."""
        self._bytes = 0
        self._listeners: Audience[Told] = Audience()
        self._now_ms = 0

    def listen(self, listener: Told, interest: Interest = EVERYTHING) -> Callable[[], None]:
        """Hear of every change in the contexts of this interest, with the source it came from;
        returns what ends that. Listening again changes the interest."""
        self._listeners.join(listener, interest)
        return lambda: self._listeners.leave(listener)

    def of(self, context: ContextName) -> tuple[PresenceState, ...]:
        """Who is there now, by ascending client."""
        room = sorted(self._rooms.get(context, {}).items())
        return tuple(one.state for _, one in room if one.state.state is not None)

    def contexts(self, interest: Interest) -> list[ContextName]:
        """Those of this interest in which somebody is, or was a moment ago."""
        if not interest.prefixes:
            return [name for name in interest.contexts if name in self._rooms]
        return [name for name in self._rooms if interest.covers(name)]

    def known(self, context: ContextName, client: int) -> PresenceState | None:
        """What is known of a client, its leaving included for a while."""
        shown = self._rooms.get(context, {}).get(client)
        return None if shown is None else shown.state

    def tell(
        self,
        context: ContextName,
        states: Iterable[PresenceState],
        *,
        now_ms: int,
        source: object = None,
        own: int | None = None,
        clients_max: int = PRESENCE_ALL_MAX,
    ) -> tuple[PresenceState, ...]:
        """Take what a source, which speaks for up to `clients_max` clients, says of them; `own` is
        the client that it is, if it is known to be one. Returns what of it was news, by ascending
        client; the listeners have heard it then. One clock told again by its source lasts longer
        and is no news."""
        self._now_ms = max(self._now_ms, now_ms)
        room = self._rooms.setdefault(context, {})
        news: dict[int, PresenceState] = {}
        for told in states:
            shown = room.get(told.client)
            if shown is None:
                if told.state is None or not self._has_room(room, source, clients_max):
                    continue
                if not self._has_bytes(context, told, source, clients_max):
                    continue
            elif not _is_newer(told, shown.state):
                if told == shown.state and told.state is not None:
                    self._told_again(context, shown, source, own)
                continue
            elif told.state is not None and not self._has_bytes(context, told, source, clients_max):
                continue
            self._put(context, told, source, own)
            news[told.client] = told
        if not room:
            del self._rooms[context]
        return self._spread(context, news.values(), source)

    def newer(
        self, context: ContextName, states: Iterable[PresenceState]
    ) -> tuple[PresenceState, ...]:
        """What is known better than it is said here."""
        known = [(told, self.known(context, told.client)) for told in states]
        return tuple(one for told, one in known if one is not None and _is_newer(one, told))

    def gone(self, source: object, context: ContextName | None = None) -> None:
        """A source has ended, or has left one context: with it goes every client whose own source
        it was, and of the others for which it spoke last those whose own is not there."""
        own = [key for key in self._owned.get(source, ()) if context in (None, key[0])]
        for key in own:
            self._belongs(key[0], self._oldest[key], None)
        over = dict.fromkeys(own)
        for key in list(self._spoken.get(source, ())):
            if context in (None, key[0]):
                shown = self._oldest[key]
                if shown.owner is None:
                    over[key] = None
                else:
                    self._spoken_by(key[0], shown, None)
        self._end(over, source)

    def forget(self, source: object) -> None:
        """A source has ended that only passed on what others said: who it spoke for stays until
        somebody says otherwise, or nobody anything in time."""
        for key in list(self._spoken.get(source, ())):
            self._spoken_by(key[0], self._oldest[key], None)

    def expire(self, now_ms: int) -> None:
        """Let go of what was not told anew in time. Call it about once a second, however many do
        so: it costs nothing where nothing is over."""
        self._now_ms = max(self._now_ms, now_ms)
        over: list[tuple[ContextName, int]] = []
        for key, shown in self._oldest.items():
            if shown.told_ms > self._now_ms - PRESENCE_LASTS_MS:
                break
            over.append(key)
        shown_still = [key for key in over if self._oldest[key].state.state is not None]
        for key in over:
            if self._oldest[key].state.state is None:
                self._drop(*key)
        self._end(shown_still, None)

    # ---- inside -------------------------------------------------------------------------------

    def _has_room(self, room: dict[int, _Shown], source: object, clients_max: int) -> bool:
        return (
            len(room) < PRESENCE_CLIENTS_MAX
            and len(self._oldest) < PRESENCE_ALL_MAX
            and (source is None or len(self._spoken.get(source, ())) < clients_max)
        )

    def _has_bytes(
        self, context: ContextName, told: PresenceState, source: object, clients_max: int
    ) -> bool:
        """Whether there is room for what a client shows. Who may speak for few may say little."""
        size = _size(told)
        of_source = PRESENCE_STATE_BYTES * clients_max
        return (
            self._bytes_in[context] + size <= PRESENCE_CONTEXT_BYTES_MAX
            and self._bytes + size <= PRESENCE_ALL_BYTES_MAX
            and (source is None or self._bytes_by[source] + size <= of_source)
        )

    def _count(self, context: ContextName, shown: _Shown, sign: int) -> None:
        size = sign * _size(shown.state)
        if size:
            self._bytes += size
            self._bytes_in[context] += size
            self._bytes_by[shown.source] += size
            if not self._bytes_in[context]:
                del self._bytes_in[context]
            if not self._bytes_by[shown.source]:
                del self._bytes_by[shown.source]

    def _put(
        self, context: ContextName, state: PresenceState, source: object, own: int | None = None
    ) -> None:
        room, key = self._rooms[context], (context, state.client)
        owner = None
        if state.client in room:
            owner = self._drop(context, state.client, keep_room=True).owner
        if state.client == own:
            owner = source
        shown = _Shown(state, self._now_ms, source, own is not None, owner)
        room[state.client] = self._oldest[key] = shown
        self._count(context, shown, 1)
        _move(self._spoken, key, None, source)
        _move(self._owned, key, None, owner)

    def _told_again(
        self, context: ContextName, shown: _Shown, source: object, own: int | None
    ) -> None:
        if shown.state.client == own and shown.owner is None and shown.is_page:
            # A neighbour was quicker to say what it had heard of it.
            self._belongs(context, shown, source)
        if source is shown.source:
            self._put(context, shown.state, source, own)
        elif shown.source is None:
            # It lasts no longer for that: otherwise two could keep somebody alive for each other.
            self._spoken_by(context, shown, source)

    def _spoken_by(self, context: ContextName, shown: _Shown, source: object) -> None:
        self._count(context, shown, -1)
        _move(self._spoken, (context, shown.state.client), shown.source, source)
        shown.source = source
        self._count(context, shown, 1)

    def _belongs(self, context: ContextName, shown: _Shown, owner: object) -> None:
        _move(self._owned, (context, shown.state.client), shown.owner, owner)
        shown.owner = owner

    def _drop(self, context: ContextName, client: int, *, keep_room: bool = False) -> _Shown:
        key = (context, client)
        shown = self._oldest.pop(key)
        self._count(context, shown, -1)
        del self._rooms[context][client]
        if not self._rooms[context] and not keep_room:
            del self._rooms[context]
        _move(self._spoken, key, shown.source, None)
        _move(self._owned, key, shown.owner, None)
        return shown

    def _end(self, keys: Iterable[tuple[ContextName, int]], source: object) -> None:
        """These have left. Their clocks stay: who has heard of a higher one elsewhere is there."""
        news: dict[ContextName, list[PresenceState]] = {}
        for context, client in keys:
            known = self._oldest[context, client].state
            left = PresenceState(client, known.clock, None)
            self._put(context, left, None)
            if known.state is not None:
                news.setdefault(context, []).append(left)
        for context, some in news.items():
            self._spread(context, some, source)

    def _spread(
        self, context: ContextName, news: Iterable[PresenceState], source: object
    ) -> tuple[PresenceState, ...]:
        told = tuple(sorted(news, key=lambda one: one.client))
        if told:
            for listener in self._listeners.of(context):
                listener(context, told, source)
        return told


def _move(
    of: dict[object, dict[tuple[ContextName, int], None]],
    key: tuple[ContextName, int],
    before: object,
    now: object,
) -> None:
    """A client belongs to this one now."""
    if before is not None:
        keys = of[before]
        del keys[key]
        if not keys:
            del of[before]
    if now is not None:
        of.setdefault(now, {})[key] = None


def read_state(text: str) -> object:
    """The value of a state that a peer has sent; None: its client has left. MalformedFrame if it
    is no JSON: every client in the context would have to read it."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise MalformedFrame("the state of a presence is no JSON") from None


def checked(state: PresenceState) -> PresenceState:
    """As `state`, in its one form: who shows ``null`` has left, as among Yjs clients.
    MalformedFrame."""
    if state.state is None or state.state == _LEFT:
        return PresenceState(state.client, state.clock, None)
    left = read_state(state.state) is None
    return PresenceState(state.client, state.clock, None) if left else state


def _size(state: PresenceState) -> int:
    return len(state.state.encode()) if state.state else 0


def _is_newer(one: PresenceState, than: PresenceState) -> bool:
    if one.clock != than.clock:
        return one.clock > than.clock
    return one.state is None and than.state is not None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")

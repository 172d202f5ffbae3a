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


class Presence:
    """What is shown in each context. A `source` is whoever tells it: a link, a connection. Times
    are milliseconds of one clock that never steps back."""

    def __init__(self) -> None:
        self._rooms: dict[ContextName, dict[int, _Shown]] = {}
        self._oldest: dict[tuple[ContextName, int], _Shown] = {}
        """All that is in the rooms, as told, from the longest ago on."""
        self._spoken: dict[object, dict[tuple[ContextName, int], None]] = {}
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
        clients_max: int = PRESENCE_ALL_MAX,
    ) -> tuple[PresenceState, ...]:
        """Take what a source, which speaks for up to `clients_max` clients, says of them. Returns
        what of it was news, by ascending client; the listeners have heard it then. One clock told
        again by its source lasts longer and is no news."""
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
                    self._told_again(context, shown, source)
                continue
            elif told.state is not None and not self._has_bytes(context, told, source, clients_max):
                continue
            self._put(context, told, source)
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
        """A source has ended, or has left one context: with it goes every client that it spoke
        for last."""
        keys = list(self._spoken.get(source, ()))
        self._end(keys if context is None else [key for key in keys if key[0] == context], source)

    def forget(self, source: object) -> None:
        """A source has ended that only passed on what others said: who it spoke for stays until
        somebody says otherwise, or nobody anything in time."""
        for context, client in list(self._spoken.get(source, ())):
            shown = self._rooms[context][client]
            self._count(context, shown, -1)
            shown.source = None
            self._count(context, shown, 1)
        self._spoken.pop(source, None)

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

    def _put(self, context: ContextName, state: PresenceState, source: object) -> None:
        room = self._rooms[context]
        if state.client in room:
            self._drop(context, state.client, keep_room=True)
        key = (context, state.client)
        shown = room[state.client] = self._oldest[key] = _Shown(state, self._now_ms, source)
        self._count(context, shown, 1)
        if source is not None:
            self._spoken.setdefault(source, {})[key] = None

    def _told_again(self, context: ContextName, shown: _Shown, source: object) -> None:
        if source is shown.source:
            self._put(context, shown.state, source)
        elif shown.source is None:
            # It lasts no longer for that: otherwise two could keep somebody alive for each other.
            self._count(context, shown, -1)
            shown.source = source
            self._count(context, shown, 1)
            self._spoken.setdefault(source, {})[context, shown.state.client] = None

    def _drop(self, context: ContextName, client: int, *, keep_room: bool = False) -> None:
        key = (context, client)
        shown = self._oldest.pop(key)
        self._count(context, shown, -1)
        del self._rooms[context][client]
        if not self._rooms[context] and not keep_room:
            del self._rooms[context]
        if shown.source is not None:
            spoken = self._spoken[shown.source]
            del spoken[key]
            if not spoken:
                del self._spoken[shown.source]

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

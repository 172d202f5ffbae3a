"""Presence: who is in a context now and what they show of themselves, beside the journal.

The rules are those of Yjs awareness, so what a Yjs client shows and what a Weft client shows are
one thing: each client has a clock; a state is taken if its clock is higher than the known one, or
equal and the client has left. A state that is not told anew in time is over. Must never know:
frames, links, what time it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from weft_engine.limits import PRESENCE_CLIENTS_MAX, PRESENCE_LASTS_MS
from weft_engine.names import ContextName
from weft_engine.sync.messages import PresenceState

Told = Callable[[ContextName, tuple[PresenceState, ...], object], None]
"""Called with a context, what has changed in it, and the source that told it."""


@dataclass(slots=True)
class _Shown:
    state: PresenceState
    told_ms: int
    source: object
    """Who spoke last for this client."""


@dataclass(slots=True)
class _Room:
    clients: dict[int, _Shown] = field(default_factory=dict)


class Presence:
    """What is shown in each context. A `source` is whoever tells it: a link, a connection."""

    def __init__(self) -> None:
        self._rooms: dict[ContextName, _Room] = {}
        self._listeners: dict[Told, None] = {}

    def listen(self, listener: Told) -> Callable[[], None]:
        """Hear of every change, with the source it came from; returns what ends that."""
        self._listeners[listener] = None
        return lambda: self._listeners.pop(listener, None) and None

    def of(self, context: ContextName) -> tuple[PresenceState, ...]:
        """Who is there now, by ascending client."""
        room = self._rooms.get(context)
        if room is None:
            return ()
        shown = sorted(room.clients.items())
        return tuple(one.state for _, one in shown if one.state.state is not None)

    def tell(
        self,
        context: ContextName,
        states: Iterable[PresenceState],
        *,
        now_ms: int,
        source: object = None,
    ) -> tuple[PresenceState, ...]:
        """Take what a source says of clients. Returns what of it was news, by ascending client;
        the listeners have heard it then. One clock told again lasts longer and is no news."""
        room = self._rooms.setdefault(context, _Room())
        news: dict[int, PresenceState] = {}
        for told in states:
            known = room.clients.get(told.client)
            if known is None:
                if told.state is None or len(room.clients) >= PRESENCE_CLIENTS_MAX:
                    continue
            elif told.clock < known.state.clock:
                continue
            elif told.clock == known.state.clock and (
                told.state is not None or known.state.state is None
            ):
                if told == known.state:
                    known.told_ms, known.source = now_ms, source
                continue
            room.clients[told.client] = _Shown(told, now_ms, source)
            news[told.client] = told
        if not room.clients:
            del self._rooms[context]
        return self._spread(context, news.values(), source)

    def gone(self, source: object, context: ContextName | None = None) -> None:
        """A source has ended, or has left one context: with it goes every client that it spoke
        for last."""
        for name in [context] if context is not None else list(self._rooms):
            room = self._rooms.get(name)
            if room is not None:
                self._end(name, [c for c, one in room.clients.items() if one.source is source])

    def expire(self, now_ms: int) -> None:
        """Let go of what was not told anew in time. Call it every few seconds."""
        for name, room in list(self._rooms.items()):
            old = now_ms - PRESENCE_LASTS_MS
            self._end(name, [c for c, one in room.clients.items() if one.told_ms <= old])

    def _end(self, context: ContextName, clients: Iterable[int]) -> None:
        room = self._rooms[context]
        news: list[PresenceState] = []
        source: object = None
        for client in clients:
            shown = room.clients.pop(client)
            if shown.state.state is not None:
                source = shown.source
                news.append(PresenceState(client, shown.state.clock + 1, None))
        if not room.clients:
            del self._rooms[context]
        self._spread(context, news, source)

    def _spread(
        self, context: ContextName, news: Iterable[PresenceState], source: object
    ) -> tuple[PresenceState, ...]:
        told = tuple(sorted(news, key=lambda one: one.client))
        if told:
            for listener in tuple(self._listeners):
                listener(context, told, source)
        return told

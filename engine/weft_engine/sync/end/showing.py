"""One link's share in presence: what it tells of others, and what others are told by it.

States are told beside the journal: nothing is kept for a peer but whose state it has not been told
yet, so the newest state goes out when there is room, and none waits in front of a record. What is
lost here (too much at once, too much waiting) comes again when its client tells it anew. Must
never know: tasks, sockets, the store.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from weft_engine.limits import (
    PRESENCE_ALL_MAX,
    PRESENCE_DUE_MAX,
    PRESENCE_FRAME_BYTES,
    PRESENCE_PER_CLIENT_LINK_MAX,
    PRESENCE_PER_CLIENT_LINK_S,
    PRESENCE_PER_FRAME_MAX,
    PRESENCE_PER_RELAY_LINK_S,
)
from weft_engine.names import ContextName
from weft_engine.sync.framing.messages import PresenceState, PresenceTold
from weft_engine.sync.interest import NOTHING, Interest
from weft_engine.sync.presence import Presence, checked

_STATE_BYTES: Final = 24
"""What a state takes in a frame beside its text, at most."""


class Showing:
    """Between a session and the board of its replica. `due` is called whenever `next` has something
    again. `is_client`: the peer speaks for itself, not for everybody behind a relay."""

    def __init__(self, board: Presence, due: Callable[[], None], *, is_client: bool) -> None:
        self._board = board
        self._due = due
        self._waiting: dict[ContextName, dict[int, None]] = {}
        self._count = 0
        self._interest = NOTHING
        self._stop: Callable[[], None] | None = None
        self._now_ms: int | None = None
        self._clients_max = PRESENCE_PER_CLIENT_LINK_MAX if is_client else PRESENCE_ALL_MAX
        self._per_s = PRESENCE_PER_CLIENT_LINK_S if is_client else PRESENCE_PER_RELAY_LINK_S
        self._room = float(self._clients_max)
        """How many states are taken before the next second."""

    def follow(self, interest: Interest) -> None:
        """The link is about this from now on: who is there is told, and who comes. Cheap if it was
        about this before."""
        if interest is self._interest:
            return
        former, self._interest = self._interest, interest
        self._stop = self._board.listen(self._told, interest)
        for context in self._board.contexts(interest):
            if not former.covers(context):
                for state in self._board.of(context):
                    self._note(context, state.client)
        for context in list(self._waiting):
            if not interest.covers(context):
                self._count -= len(self._waiting.pop(context))
        if self._waiting:
            self._due()

    def heard(self, told: PresenceTold) -> None:
        """What the peer says. What it has no place to say is passed over: the interest may have
        changed while it travelled. MalformedFrame."""
        states = [checked(state) for state in told.states]
        if not self._interest.covers(told.context) or self._room < len(states):
            return
        self._room -= len(states)
        self._board.tell(
            told.context,
            states,
            now_ms=self._now_ms or 0,
            source=self,
            clients_max=self._clients_max,
        )
        for newer in self._board.newer(told.context, states):
            self._note(told.context, newer.client)
        if self._waiting:
            self._due()

    def next(self) -> PresenceTold | None:
        """A frame for the peer, if there is something that it was not told: call it when nothing
        else is to be sent."""
        for context in list(self._waiting):
            clients = self._waiting[context]
            chosen: list[PresenceState] = []
            size = 0
            while clients and len(chosen) < PRESENCE_PER_FRAME_MAX and size < PRESENCE_FRAME_BYTES:
                client = next(iter(clients))
                del clients[client]
                self._count -= 1
                state = self._board.known(context, client)
                if state is not None:
                    chosen.append(state)
                    size += _STATE_BYTES + len((state.state or "").encode())
            if not clients:
                del self._waiting[context]
            if chosen:
                chosen.sort(key=lambda one: one.client)
                return PresenceTold(context, tuple(chosen))
        return None

    def tick(self, now_ms: int) -> None:
        """Call about once a second, with any clock that never steps back."""
        if self._now_ms is not None:
            more = (now_ms - self._now_ms) * self._per_s / 1000
            self._room = min(float(self._clients_max), self._room + more)
        self._now_ms = now_ms
        self._board.expire(now_ms)

    def end(self, *, peer_is_relay: bool) -> None:
        """The link is over. Whom a relay told of may be there still, and are if it says so again
        in time; a client is gone."""
        if self._stop is not None:
            self._stop()
            self._stop = None
        self._waiting.clear()
        self._count = 0
        if peer_is_relay:
            self._board.forget(self)
        else:
            self._board.gone(self)

    # ---- inside -------------------------------------------------------------------------------

    def _told(
        self, context: ContextName, states: tuple[PresenceState, ...], source: object
    ) -> None:
        for state in states:
            if source is self:
                self._spare(context, state.client)
            else:
                self._note(context, state.client)
        if source is not self:
            self._due()

    def _note(self, context: ContextName, client: int) -> None:
        if self._count >= PRESENCE_DUE_MAX:
            return
        clients = self._waiting.setdefault(context, {})
        if client not in clients:
            clients[client] = None
            self._count += 1

    def _spare(self, context: ContextName, client: int) -> None:
        """The peer has just told what it would be told."""
        clients = self._waiting.get(context)
        if clients is not None and client in clients:
            del clients[client]
            self._count -= 1
            if not clients:
                del self._waiting[context]

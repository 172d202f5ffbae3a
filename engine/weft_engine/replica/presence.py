"""Who is in a context, as applications see and say it: `Context.presence`.

What this replica shows of itself is told anew until it is taken back, under the client id by which
its incarnation writes, so that a browser sees one client and not two. Nothing of it is kept: who
comes later is told by those who are there. Must never know: links, records.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from weft_engine.background import begin
from weft_engine.errors import CallerError, LimitExceeded, StoreClosed
from weft_engine.limits import PRESENCE_BYTES_MAX, PRESENCE_LASTS_MS
from weft_engine.names import ClientId, ContextName
from weft_engine.records.identity import client_id
from weft_engine.sync.framing.messages import PresenceState
from weft_engine.sync.interest import Interest
from weft_engine.sync.presence import Presence, read_state

if TYPE_CHECKING:
    from weft_engine.replica.replica import Replica

_RENEW_S: Final = PRESENCE_LASTS_MS / 2 / 1000
_CLOCK_MAX: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Shown:
    """A client that is in a context. `client` is its Yjs client id there; `state` is what it shows,
    a JSON value that anybody may have written: read it with care. `is_me`: this store."""

    client: int
    state: Any
    is_me: bool


@dataclass(frozen=True, slots=True)
class PresenceChange:
    """What is different since the last change: who came, who shows something else, and the client
    ids of those who left."""

    came: tuple[Shown, ...]
    changed: tuple[Shown, ...]
    left: tuple[int, ...]


@dataclass(slots=True)
class _Own:
    client: ClientId
    clock: int
    text: str


class Showings:
    """What a replica shows of itself, in all its contexts, and who watches. Made by the replica;
    `close` it."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._own: dict[ContextName, _Own] = {}
        self._listening: Callable[[], None] | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._watchers: dict[_Watcher, None] = {}
        self._is_closed = False

    @property
    def board(self) -> Presence:
        return self._replica.presence

    def me(self, name: ContextName) -> ClientId | None:
        """The client that is shown there; None while nothing is."""
        own = self._own.get(name)
        return None if own is None else own.client

    def show(self, name: ContextName, text: str) -> None:
        if self._is_closed:
            raise StoreClosed("the store is closed", hint="open it again")
        if self._replica.journal.readonly:
            raise StoreClosed(
                f"the store {self._replica.path} is open for reading only, it is nobody's presence",
                hint="open it without readonly",
            )
        client = client_id(self._replica.scribe.incarnation, name)
        own = self._own.get(name)
        if own is not None and own.client != client:
            # Another incarnation writes here now.
            self.take_back(name)
            own = None
        if own is None:
            # Above what this client said before a restart, mostly; whoever knows better says so.
            own = _Own(client, min(_CLOCK_MAX, self._replica.now_ms() // 1000), text)
            self._own[name] = own
        own.text = text
        self._tell(name, own)
        if self._listening is None:
            self._listening = self.board.listen(self._told)
        if self._renewing is None:
            self._renewing = begin(self._renew(), name="weft-presence")

    def take_back(self, name: ContextName) -> None:
        own = self._own.pop(name, None)
        if own is not None:
            left = PresenceState(own.client, own.clock, None)
            self.board.tell(name, [left], now_ms=_now_ms(), source=self)

    async def watch(self, name: ContextName) -> AsyncIterator[PresenceChange]:
        watcher = _Watcher()
        stop = self.board.listen(watcher.hear, Interest.of(contexts=[name]))
        self._watchers[watcher] = None
        shown: dict[int, PresenceState] = {}
        try:
            while not (watcher.is_ended or self._is_closed):
                now = {state.client: state for state in self.board.of(name)}
                change = self._change(name, shown, now)
                shown = now
                if change is not None:
                    yield change
                await watcher.wake.wait()
                watcher.wake.clear()
        finally:
            stop()
            del self._watchers[watcher]

    async def close(self) -> None:
        """Take everything back, end whoever watches."""
        self._is_closed = True
        for name in list(self._own):
            self.take_back(name)
        for watcher in self._watchers:
            watcher.end()
        if self._listening is not None:
            self._listening()
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])

    # ---- inside -------------------------------------------------------------------------------

    def shown(self, name: ContextName, state: PresenceState) -> Shown:
        me = self.me(name)
        return Shown(state.client, read_state(state.state or "null"), state.client == me)

    def _change(
        self, name: ContextName, before: Mapping[int, PresenceState], now: dict[int, PresenceState]
    ) -> PresenceChange | None:
        came = tuple(self.shown(name, one) for client, one in now.items() if client not in before)
        changed = tuple(
            self.shown(name, one)
            for client, one in now.items()
            # Told anew is not changed.
            if client in before and before[client].state != one.state
        )
        left = tuple(client for client in before if client not in now)
        return PresenceChange(came, changed, left) if came or changed or left else None

    def _tell(self, name: ContextName, own: _Own) -> None:
        """With a higher clock than ever: else it is no news, and does not get far."""
        known = self.board.known(name, own.client)
        own.clock = min(_CLOCK_MAX, max(own.clock, 0 if known is None else known.clock) + 1)
        state = PresenceState(own.client, own.clock, own.text)
        self.board.tell(name, [state], now_ms=_now_ms(), source=self)

    def _told(self, name: ContextName, told: tuple[PresenceState, ...], source: object) -> None:
        """Nobody else says what we show, or that we have left: say it again above that."""
        own = self._own.get(name)
        if own is None or source is self or all(one.client != own.client for one in told):
            return
        # Not before all others have heard of what was told.
        asyncio.get_running_loop().call_soon(self._insist, name, own)

    def _insist(self, name: ContextName, own: _Own) -> None:
        known = self.board.known(name, own.client)
        is_ours = known is None or (known.clock == own.clock and known.state == own.text)
        if self._own.get(name) is own and not is_ours and own.clock < _CLOCK_MAX:
            self._tell(name, own)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_S)
            self.board.expire(_now_ms())
            for name, own in list(self._own.items()):
                self.show(name, own.text)


class ContextPresence:
    """Who is in one context now. Made by `Context.presence`; all branches share it.

    It reaches who is linked, and nobody else: two processes that open one file do not see each
    other by it, nor does a store that is open for reading only.
    """

    def __init__(self, showings: Showings, name: ContextName) -> None:
        self._showings = showings
        self._name = name

    def set(self, state: Mapping[str, object]) -> None:
        """Show this of ourselves, in place of what was shown, until `clear` or the store closes. It
        is told anew every 15 s, and everybody forgets it 30 s after it was told last.

        Raises CallerError for what is no JSON object, LimitExceeded beyond 16 KiB of JSON.
        """
        self._showings.show(self._name, _encoded(state))

    def clear(self) -> None:
        """Show nothing any more: to others we have left. Harmless if nothing is shown."""
        self._showings.take_back(self._name)

    def here(self) -> list[Shown]:
        """Who is there now, as far as we were told, by client id; we too, if we show something."""
        showings = self._showings
        return [showings.shown(self._name, state) for state in showings.board.of(self._name)]

    def watch(self) -> AsyncIterator[PresenceChange]:
        """Who is there, and every change from then on, until the store closes. A slow listener gets
        fewer and larger changes, never a growing queue."""
        return self._showings.watch(self._name)


@dataclass(eq=False, slots=True)
class _Watcher:
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    is_ended: bool = False

    def hear(self, name: ContextName, told: tuple[PresenceState, ...], source: object) -> None:
        self.wake.set()

    def end(self) -> None:
        self.is_ended = True
        self.wake.set()


def _encoded(state: Mapping[str, object]) -> str:
    if not isinstance(state, Mapping):
        raise CallerError(
            f"{type(state).__name__} can't be shown as presence", hint="give a dict of JSON values"
        )
    try:
        text = json.dumps(dict(state), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise CallerError(f"a presence is no JSON: {error}", hint="give JSON values") from error
    if size > PRESENCE_BYTES_MAX:
        raise LimitExceeded(
            f"a presence of {size} bytes of JSON exceeds {PRESENCE_BYTES_MAX}",
            hint="show less; what is to last belongs into events and notes",
        )
    return text


def _now_ms() -> int:
    return int(asyncio.get_running_loop().time() * 1000)

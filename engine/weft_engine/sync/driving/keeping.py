"""Keep a link up: dial, run, wait a little longer each time, dial again, until it is refused or
closed. With several places to dial it stays where it works, goes on to the next when that fails,
and leaves out those that refused it; it is refused when all did.

Must never know: addresses, sockets, tokens; a dial function has these.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType
from typing import Final, Self

from weft_engine.background import begin, tell
from weft_engine.errors import LinkRefused, StoreError, WeftError
from weft_engine.limits import RECONNECT_FIRST_S, RECONNECT_LAST_S
from weft_engine.names import ContextName, Position
from weft_engine.storage.reading import last_position
from weft_engine.sync.driving.link import Link, LinkStore, Transport
from weft_engine.sync.end.ending import End, State
from weft_engine.sync.end.saved import Saved
from weft_engine.sync.faults import LinkLost
from weft_engine.sync.framing.messages import Window
from weft_engine.sync.interest import EVERYTHING, Interest

Dial = Callable[[], AbstractAsyncContextManager[Transport]]
"""Raises LinkRefused where trying again is of no use; LinkLost, OSError or TimeoutError where it
is. Anything else is a bug and ends the keeping."""


def delay_s(attempt: int, random: float, *, longest_s: float = RECONNECT_LAST_S) -> float:
    """What to wait before `attempt`, from 1: doubled each time up to `longest_s`, of which `random`
    (0 to 1) takes away up to half, so that clients of a relay that went away do not return
    together."""
    longest = min(longest_s, RECONNECT_FIRST_S * 2.0 ** min(attempt - 1, 16))
    return longest * (1 - random / 2)


_SAVED_MAX: Final = 16
"""Interests and places of which it is remembered what they hold."""


class KeptLink:
    """A link that comes back by itself. `aclose` it, or use it as a context manager. `dial` leads
    to a place, or to several that are tried in this order. `changed` is called when `status`,
    `place` or `error` has changed. `longest_s`: the pauses between attempts grow up to this. A
    relay makes the links of its connections itself (`make`), and runs them as it does those that
    it has accepted (`run`)."""

    def __init__(
        self,
        dial: Dial | Sequence[Dial],
        store: LinkStore,
        *,
        random: Callable[[], float],
        interest: Interest = EVERYTHING,
        region: str | None = None,
        window: Window | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        changed: Callable[[], None] = lambda: None,
        longest_s: float = RECONNECT_LAST_S,
        make: Callable[[Transport], Link] | None = None,
        run: Callable[[Link], Awaitable[End]] = Link.run,
    ) -> None:
        self._dials = (dial,) if callable(dial) else tuple(dial)
        assert self._dials, "a link has somewhere to go"
        self._refusals: dict[int, LinkRefused] = {}
        self.place = 0
        """Where it is, or tries to be: an index of the places to dial."""
        self._peers: dict[int, tuple[bytes, bytes]] = {}
        """The store that was met at each place, and its epoch."""
        self._saved: dict[tuple[int, Interest], Saved] = {}
        self._changed = changed
        self._store = store
        self._random = random
        self._interest = interest
        self._carried = EVERYTHING
        """What the place that was met last agrees to."""
        self._region = region
        self._window = window
        self._sleep = sleep
        self._longest_s = longest_s
        self._make = make or self._plain
        self._run = run
        self.link: Link | None = None
        """The present connection, if there is one."""
        self._error: WeftError | OSError | None = None
        self._is_closing = False
        self._linked = asyncio.Event()
        self._gone = asyncio.Event()
        self._task = begin(self._keep(), name="weft-kept-link", failed=self._failed)
        self._task.add_done_callback(lambda _: self._linked.set())
        self._task.add_done_callback(lambda _: changed())

    @property
    def error(self) -> WeftError | OSError | None:
        """Why the last attempt or connection ended; for good if `status` is refused or closed."""
        end = None if self.link is None else self.link.session.end
        return self._error if end is None else end.error

    @property
    def status(self) -> State:
        if len(self._refusals) == len(self._dials):
            return State.REFUSED
        if self._task.done():
            return State.CLOSED
        link = self.link
        return State.CONNECTING if link is None or link.session.end is not None else link.state

    def ask(self, interest: Interest) -> None:
        """From now on ask for `interest` instead, on this connection and on all that follow."""
        self._interest = interest
        if self.link is not None:
            # It stays true of what is dropped.
            self._note_saved(self.link)
            self.link.ask(interest)

    async def synced(self, *, timeout: float | None = None) -> None:
        """Wait until the other side holds, durably, everything within the interest that is in
        our journal now, over as many connections as that takes. TimeoutError if it takes longer,
        LinkRefused if it can't be, LinkLost after `aclose`."""
        await self.until(lambda link, position: link.holds(position), timeout)

    async def until_synced(self, *, timeout: float | None = None) -> None:
        """As `synced`, and everything that the other side announced and sent is durable here."""
        await self.until(
            lambda link, position: link.holds(position) and link.session.progress.has_received_all,
            timeout,
        )

    async def until(
        self,
        holds: Callable[[Link, Position], bool],
        timeout: float | None = None,
        *,
        begin: Callable[[Link, Position], None] = lambda link, position: None,
    ) -> None:
        """Wait until something is true of a connection and of where our journal ends now, over as
        many connections as that takes: as `synced`. `begin` is called of each of them."""
        async with asyncio.timeout(timeout):
            position = await self._store.journal.read(last_position)
            while True:
                await self._linked.wait()
                link, gone = self.link, self._gone
                if link is None:
                    raise self._ended()
                begin(link, position)
                try:
                    await link.until(partial(holds, link, position))
                    return
                except (LinkLost, LinkRefused):
                    # The next connection, or the reason why there is none, comes after this one.
                    await gone.wait()

    @property
    def carried(self) -> Interest:
        """What it carries: as far as is known, what the other side agreed to of what is asked."""
        link = self.link
        if link is not None and link.session.peer is not None:
            return link.session.interest
        return self._carried.intersection(self._interest)

    @property
    def refusals(self) -> dict[int, LinkRefused]:
        """The places that refused us for good, and why."""
        return dict(self._refusals)

    def of(self, context: ContextName) -> Position | None:
        """Up to which position of our journal all of a context is known to be durable at one of
        the places, whether that can be reached now or not; None: nothing is known."""
        known = [saved.of(context) for saved in self._saved.values()]
        if self.link is not None:
            self._meet(self.link)
            known.append(self.link.session.progress.saved_of(context))
        return max((one for one in known if one is not None), default=None)

    def saved(self) -> list[Saved]:
        """What is known to be durable at the places."""
        return list(self._saved.values())

    def saved_last(self) -> Saved | None:
        """What is known to be durable at the place that was met last."""
        if self.link is not None:
            self._meet(self.link)
            self._note_saved(self.link)
        return next(reversed(self._saved.values()), None)

    async def ended(self) -> None:
        """Wait until it does not come back any more. Raises the machine's fault that ended it, if
        one did."""
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()

    async def aclose(self) -> None:
        """Say goodbye and end. Raises the machine's fault that ended it before, if one did."""
        self._is_closing = True
        if self.link is not None:
            self.link.close()
        else:
            self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    # ---- inside -------------------------------------------------------------------------------

    def _failed(self, error: BaseException) -> None:
        # Who waits, or closes it, is told of what can happen, such as a store that was closed
        # under it; what never should is told to everybody.
        if not isinstance(error, WeftError):
            tell(self._task, error)

    def _ended(self) -> BaseException:
        fault = None if self._task.cancelled() else self._task.exception()
        if fault is not None:
            return fault
        if isinstance(self._error, LinkRefused):
            return self._error
        return LinkLost("the link is closed", hint="open a new one")

    async def _keep(self) -> None:
        failures = 0
        while not self._is_closing:
            was_live = await self._once()
            if self._is_closing or self._is_refused():
                return
            failures = 1 if was_live else failures + 1
            self._go_on()
            self._changed()
            # Each round of all places waits longer than the one before.
            tried = len(self._dials) - len(self._refusals)
            attempt = 1 + (failures - 1) // tried
            await self._sleep(delay_s(attempt, self._random(), longest_s=self._longest_s))

    async def _once(self) -> bool:
        """One connection; whether it came to live."""
        was_live = False
        try:
            async with self._dials[self.place]() as transport:
                self.link = link = self._make(transport)
                self._gone = asyncio.Event()
                self._linked.set()
                following = begin(self._follow(link), name="weft-link-follow")
                try:
                    self._error = (await self._run(link)).error
                finally:
                    was_live = link.session.peer is not None
                    self._linked.clear()
                    self._meet(link)
                    self._note_saved(link)
                    self.link = None
                    self._gone.set()
                    following.cancel()
                    await asyncio.wait([following])
        except LinkRefused as error:
            self._error = error
        except (LinkLost, StoreError, OSError) as error:
            # A disk that is full now may have room later.
            self._error = error
        return was_live

    def _plain(self, transport: Transport) -> Link:
        return Link(
            transport,
            self._store,
            interest=self._interest,
            region=self._region,
            window=self._window,
        )

    async def _follow(self, link: Link) -> None:
        """Tell how far a connection has come."""
        self._changed()
        try:
            await link.until(lambda: link.state is not State.CONNECTING)
            self._changed()
            await link.until(lambda: link.state is State.LIVE)
            self._changed()
        except (LinkLost, LinkRefused):
            return

    def _is_refused(self) -> bool:
        """Whether no place is left: take note if the present one refused us; if it was the last
        one, say so of all."""
        if not isinstance(self._error, LinkRefused):
            return False
        self._refusals[self.place] = self._error
        if len(self._refusals) < len(self._dials):
            return False
        if len(self._dials) > 1:
            reasons = dict.fromkeys(error.message for error in self._refusals.values())
            self._error = LinkRefused(
                f"every relay refused the link: {'; '.join(reasons)}", hint=self._error.hint
            )
        return True

    def _go_on(self) -> None:
        """To the next place that has not refused us; to this one again if there is no other."""
        count = len(self._dials)
        places = [(self.place + step) % count for step in range(1, count + 1)]
        self.place = next(place for place in places if place not in self._refusals)

    def _meet(self, link: Link) -> None:
        """If another store is now where one was, what that one held is not there."""
        peer = link.session.peer
        if peer is None:
            return
        self._carried = peer.interest
        met = (peer.store, peer.epoch)
        if self._peers.get(self.place, met) != met:
            self._saved = {key: one for key, one in self._saved.items() if key[0] != self.place}
        self._peers[self.place] = met

    def _note_saved(self, link: Link) -> None:
        saved = link.session.progress.saved()
        if saved is not None:
            key = (self.place, saved.interest)
            self._saved[key] = saved.after(self._saved.pop(key, None))
            while len(self._saved) > _SAVED_MAX:
                del self._saved[next(iter(self._saved))]


def keep_linked(
    dial: Dial | Sequence[Dial],
    store: LinkStore,
    *,
    random: Callable[[], float],
    interest: Interest = EVERYTHING,
    region: str | None = None,
    window: Window | None = None,
    changed: Callable[[], None] = lambda: None,
) -> KeptLink:
    """Start to keep a link to where `dial` leads. Needs a running event loop."""
    return KeptLink(
        dial,
        store,
        random=random,
        interest=interest,
        region=region,
        window=window,
        changed=changed,
    )

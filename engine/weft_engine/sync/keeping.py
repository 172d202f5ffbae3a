"""Keep a link up: dial, run, wait a little longer each time, dial again, until it is refused or
closed. Must never know: addresses, sockets, tokens; a dial function has these.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType
from typing import Self

from weft_engine.errors import LinkRefused, StoreError, WeftError
from weft_engine.limits import RECONNECT_FIRST_S, RECONNECT_LAST_S
from weft_engine.names import Position
from weft_engine.storage.reading import last_position
from weft_engine.sync.faults import LinkLost
from weft_engine.sync.interest import EVERYTHING, Interest
from weft_engine.sync.link import Link, LinkStore, Transport
from weft_engine.sync.messages import Window
from weft_engine.sync.session import State

Dial = Callable[[], AbstractAsyncContextManager[Transport]]
"""Raises LinkRefused where trying again is of no use; LinkLost, OSError or TimeoutError where it
is. Anything else is a bug and ends the keeping."""


def delay_s(attempt: int, random: float) -> float:
    """What to wait before `attempt`, from 1: doubled each time up to a limit, of which `random`
    (0 to 1) takes away up to half, so that clients of a relay that went away do not return
    together."""
    longest = min(RECONNECT_LAST_S, RECONNECT_FIRST_S * 2.0 ** min(attempt - 1, 16))
    return longest * (1 - random / 2)


class KeptLink:
    """A link that comes back by itself. `aclose` it, or use it as a context manager."""

    def __init__(
        self,
        dial: Dial,
        store: LinkStore,
        *,
        random: Callable[[], float],
        interest: Interest = EVERYTHING,
        region: str | None = None,
        window: Window | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._dial = dial
        self._store = store
        self._random = random
        self._interest = interest
        self._region = region
        self._window = window
        self._sleep = sleep
        self.link: Link | None = None
        """The present connection, if there is one."""
        self.error: WeftError | OSError | None = None
        """Why the last attempt or connection ended; for good if `status` is refused or closed."""
        self._is_closing = False
        self._linked = asyncio.Event()
        self._gone = asyncio.Event()
        self._task = asyncio.create_task(self._keep(), name="weft-kept-link")
        self._task.add_done_callback(lambda _: self._linked.set())

    @property
    def status(self) -> State:
        if isinstance(self.error, LinkRefused):
            return State.REFUSED
        if self._task.done():
            return State.CLOSED
        return State.CONNECTING if self.link is None else self.link.state

    def ask(self, interest: Interest) -> None:
        """From now on ask for `interest` instead, on this connection and on all that follow."""
        self._interest = interest
        if self.link is not None:
            self.link.ask(interest)

    async def synced(self, *, timeout: float | None = None) -> None:
        """Wait until the other side holds, durably, everything within the interest that is in
        our journal now, over as many connections as that takes. TimeoutError if it takes longer,
        LinkRefused if it can't be, LinkLost after `aclose`."""
        await self._until(lambda link, position: link.holds(position), timeout)

    async def until_synced(self, *, timeout: float | None = None) -> None:
        """As `synced`, and everything that the other side announced and sent is durable here."""
        await self._until(
            lambda link, position: link.holds(position) and link.session.has_received_all, timeout
        )

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

    async def _until(self, holds: Callable[[Link, Position], bool], timeout: float | None) -> None:
        async with asyncio.timeout(timeout):
            position = await self._store.journal.read(last_position)
            while True:
                await self._linked.wait()
                link, gone = self.link, self._gone
                if link is None:
                    raise self._ended()
                try:
                    await link.until(partial(holds, link, position))
                    return
                except (LinkLost, LinkRefused):
                    # The next connection, or the reason why there is none, comes after this one.
                    await gone.wait()

    def _ended(self) -> BaseException:
        fault = None if self._task.cancelled() else self._task.exception()
        if fault is not None:
            return fault
        if isinstance(self.error, LinkRefused):
            return self.error
        return LinkLost("the link is closed", hint="open a new one")

    async def _keep(self) -> None:
        attempt = 0
        while not self._is_closing:
            was_live = await self._once()
            if isinstance(self.error, LinkRefused) or self._is_closing:
                return
            attempt = 1 if was_live else attempt + 1
            await self._sleep(delay_s(attempt, self._random()))

    async def _once(self) -> bool:
        """One connection; whether it came to live."""
        was_live = False
        try:
            async with self._dial() as transport:
                self.link = link = Link(
                    transport,
                    self._store,
                    interest=self._interest,
                    region=self._region,
                    window=self._window,
                )
                self._gone = asyncio.Event()
                self._linked.set()
                try:
                    self.error = (await link.run()).error
                finally:
                    was_live = link.session.peer is not None
                    self._linked.clear()
                    self.link = None
                    self._gone.set()
        except LinkRefused as error:
            self.error = error
        except (LinkLost, StoreError, OSError) as error:
            # A disk that is full now may have room later.
            self.error = error
        return was_live


def keep_linked(
    dial: Dial,
    store: LinkStore,
    *,
    random: Callable[[], float],
    interest: Interest = EVERYTHING,
    region: str | None = None,
    window: Window | None = None,
) -> KeptLink:
    """Start to keep a link to where `dial` leads. Needs a running event loop."""
    return KeptLink(dial, store, random=random, interest=interest, region=region, window=window)

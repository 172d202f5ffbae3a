"""A store's link to a relay, as applications see it. Must never know: websockets, frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from random import SystemRandom

from weft.dialing import dial
from weft_engine.errors import CallerError
from weft_engine.replica.replica import Replica
from weft_engine.sync.binding import sync_url
from weft_engine.sync.interest import Interest
from weft_engine.sync.keeping import keep_linked
from weft_engine.sync.session import State


class Link:
    """Made by `Store.connect`. Reconnects by itself, with growing, jittered pauses, until it is
    closed, refused, or the store closes."""

    def __init__(
        self,
        replica: Replica,
        url: str,
        *,
        token: str | None,
        contexts: Iterable[str],
        prefixes: Iterable[str],
        ended: Callable[[Link], None],
    ) -> None:
        self.url = sync_url(url)
        self._ended = ended
        self._contexts = frozenset(contexts)
        self._prefixes = frozenset(prefixes)
        self._kept = keep_linked(
            partial(dial, self.url, token),
            replica,
            random=SystemRandom().random,
            interest=Interest.of(contexts=self._contexts, prefixes=self._prefixes),
        )

    def subscribe(self, *, contexts: Iterable[str] = (), prefixes: Iterable[str] = ()) -> None:
        """Carry these contexts, and those that begin with one of these prefixes, from now on too.
        Returns at once: `synced(received=True)` waits until they are here. What the relay does not
        permit is not carried.

        Raises InvalidName, LimitExceeded.
        """
        asked = self._contexts | set(contexts), self._prefixes | set(prefixes)
        self._ask(*asked)

    def unsubscribe(self, *, contexts: Iterable[str] = (), prefixes: Iterable[str] = ()) -> None:
        """Carry these no longer; they stay in the store. A context that was asked for by a prefix
        goes with the prefix only.

        Raises CallerError for what was not asked for, and if nothing would be left.
        """
        for kind, gone, asked in (
            ("context", set(contexts), self._contexts),
            ("prefix", set(prefixes), self._prefixes),
        ):
            for name in sorted(gone - asked):
                raise CallerError(
                    f"the link does not carry the {kind} {name!r} by that name",
                    hint="name what `connect` or `subscribe` was given",
                )
        left = self._contexts - set(contexts), self._prefixes - set(prefixes)
        if not any(left):
            raise CallerError("nothing would be left for the link to carry", hint="close the link")
        self._ask(*left)

    def _ask(self, contexts: frozenset[str], prefixes: frozenset[str]) -> None:
        self._kept.ask(Interest.of(contexts=contexts, prefixes=prefixes))
        self._contexts, self._prefixes = contexts, prefixes

    @property
    def status(self) -> State:
        """connecting, comparing, live, refused (for good) or closed."""
        return self._kept.status

    @property
    def error(self) -> Exception | None:
        """Why the last connection or attempt ended; None if none did."""
        return self._kept.error

    async def synced(self, *, timeout: float | None = None, received: bool = False) -> None:
        """Wait until everything that the store holds now, within what this link carries, is
        durable at the relay; with `received`, until all that the relay announced is here too.
        Waits over any number of connections. `timeout` in seconds.

        Raises TimeoutError, LinkRefused with the relay's reason, or LinkLost if it is closed.
        """
        if received:
            await self._kept.until_synced(timeout=timeout)
        else:
            await self._kept.synced(timeout=timeout)

    async def aclose(self) -> None:
        """Say goodbye and end. May be repeated; what is not synced stays for the next link."""
        try:
            await self._kept.aclose()
        finally:
            self._ended(self)

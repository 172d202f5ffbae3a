"""A store's link to a relay, as applications see it. Must never know: websockets, frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from random import SystemRandom

from weft.dialing import dial
from weft.status import Connection, LinkStatus
from weft_engine.errors import CallerError, WeftError
from weft_engine.replica.replica import Replica
from weft_engine.storage.own_records import count_own
from weft_engine.sync.driving.held import until_held
from weft_engine.sync.driving.keeping import KeptLink, keep_linked
from weft_engine.sync.end.ending import State
from weft_engine.sync.interest import Interest


class Link:
    """Made by `Store.connect`. Reconnects by itself, with growing, jittered pauses, until it is
    closed, refused, or the store closes.

    With several addresses it is one link that stays where it works. When that fails it goes on to
    the next, and sends there what is missing there, no more. An address that refuses the token is
    not tried again; the link is refused when all have."""

    def __init__(
        self,
        replica: Replica,
        urls: Sequence[str],
        *,
        token: str | None,
        contexts: Iterable[str],
        prefixes: Iterable[str],
        changed: Callable[[], None],
        ended: Callable[[Link], None],
    ) -> None:
        self.urls = tuple(urls)
        self._replica = replica
        self._changed = changed
        self._ended = ended
        self._contexts = frozenset(contexts)
        self._prefixes = frozenset(prefixes)
        self._state = Connection.CONNECTING
        self._since_ms = replica.now_ms()
        self._kept = keep_linked(
            [partial(dial, url, token) for url in self.urls],
            replica,
            random=SystemRandom().random,
            interest=Interest.of(contexts=self._contexts, prefixes=self._prefixes),
            changed=self._note,
        )
        replica.savings.join(self._kept)

    @property
    def kept(self) -> KeptLink:
        """The link below."""
        return self._kept

    @property
    def url(self) -> str:
        """The address in use, or tried now."""
        return self.urls[self._kept.place]

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

    async def details(self) -> LinkStatus:
        """How it stands, as one value (`Store.status` has them all)."""
        saved = self._kept.saved_last()
        unsynced = None
        if saved is not None:
            counted = await self._replica.journal.read(
                partial(count_own, after=saved.upto, behind=saved.behind)
            )
            unsynced = sum(n for name, n in counted.items() if saved.interest.covers(name))
        state = self._connection()
        link, error = self._kept.link, self._kept.error
        is_up = state in (Connection.LIVE, Connection.CONNECTING)
        peer = None if link is None or link.session.end is not None else link.session.peer
        return LinkStatus(
            url=self.url,
            urls=self.urls,
            refused_by=tuple(self.urls[place] for place in sorted(self._kept.refusals)),
            state=state,
            since_ms=self._since_ms,
            error=None if is_up or error is None else _said(error),
            hint=error.hint if isinstance(error, WeftError) and not is_up else "",
            region=None if peer is None else peer.region,
            unsynced=unsynced,
        )

    async def synced(
        self, *, timeout: float | None = None, received: bool = False, regions: int | None = None
    ) -> None:
        """Wait until everything that the store holds now, within what this link carries, is
        durable at the relay; with `received`, until all that the relay announced is here too; with
        `regions`, until it is durable in at least so many regions, the relay's own among them.
        Waits over any number of connections. `timeout` in seconds.

        Raises TimeoutError, which says who is behind; LinkRefused with the relay's reason; LinkLost
        if it is closed; CallerError if the relay knows of fewer regions when the time is over
        (without a `timeout`, after some 20 s).
        """
        if regions is not None:
            await until_held([self._kept], self._replica, regions=regions, timeout=timeout)
            if not received:
                return
        try:
            if received:
                await self._kept.until_synced(timeout=timeout)
            else:
                await self._kept.synced(timeout=timeout)
        except TimeoutError:
            raise TimeoutError(f"not in step after {timeout} s: {self.how_it_is()}") from None

    def how_it_is(self) -> str:
        """In a few words, for an error: the address and why it is not reached, or the state."""
        state = self._connection()
        if state in (Connection.OFFLINE, Connection.REFUSED) and self._kept.error is not None:
            return _said(self._kept.error)
        return f"{self.url} is {state}"

    async def aclose(self) -> None:
        """Say goodbye and end. May be repeated; what is not synced stays for the next link."""
        try:
            await self._kept.aclose()
        finally:
            self._replica.savings.leave(self._kept, self._kept.saved())
            self._ended(self)

    # ---- inside -------------------------------------------------------------------------------

    def _connection(self) -> Connection:
        match self._kept.status:
            case State.LIVE:
                return Connection.LIVE
            case State.REFUSED:
                return Connection.REFUSED
            case State.COMPARING:
                return Connection.CONNECTING
            case State.CONNECTING if self._kept.error is None:
                return Connection.CONNECTING
            case State.CONNECTING | State.CLOSED:
                # Not every new attempt is a change: nothing is reached until one succeeds.
                return Connection.OFFLINE

    def _note(self) -> None:
        state = self._connection()
        if state is not self._state:
            self._state = state
            self._since_ms = self._replica.now_ms()
        self._changed()


def _said(error: Exception) -> str:
    return error.message if isinstance(error, WeftError) else str(error) or type(error).__name__

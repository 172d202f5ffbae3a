"""The store an application opens: one SQLite file, its contexts, its links to relays.

Here time and randomness come in; everything else is the engine's. Must never know: what a relay
is made of.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from weft.link import Link
from weft.status import RegionStatus, StoreStatus, store_status
from weft_engine.errors import CallerError, LimitExceeded, StoreClosed
from weft_engine.limits import RELAYS_PER_LINK_MAX
from weft_engine.names import ContextName
from weft_engine.replica.context import Context
from weft_engine.replica.replica import Replica
from weft_engine.replica.search_hit import Hit, Order
from weft_engine.storage.backup import back_up
from weft_engine.storage.erasures import ErasureRow
from weft_engine.storage.own_records import count_own
from weft_engine.storage.verify import Report
from weft_engine.storage.verify import verify as _verify
from weft_engine.sync.binding import sync_url
from weft_engine.sync.driving.held import until_held
from weft_engine.sync.interest import Interest
from weft_engine.views.receipt import Receipt
from weft_engine.views.view import View

_PAGE = 1000
_LOOK_S = 0.25


@dataclass(frozen=True, slots=True)
class ContextInfo:
    """A context that the store holds. Equal `fingerprint`s (hex) mean equal records."""

    name: ContextName
    records: int
    fingerprint: str


class Store:
    """Made by `weft.open`. Used from one event loop."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._links: dict[Link, None] = {}
        self._watchers: dict[asyncio.Event, None] = {}
        self._is_closed = False

    @property
    def path(self) -> Path:
        return self._replica.path

    @property
    def readonly(self) -> bool:
        return self._replica.journal.readonly

    def context(self, name: str) -> Context:
        """The context of this name, such as ``acme/chat-42``. Reads nothing and writes nothing; a
        context comes into being with the first thing written to it. Raises InvalidName."""
        return self._replica.context(name)

    async def contexts(self, prefix: str = "") -> AsyncIterator[ContextInfo]:
        """Every context whose name starts with `prefix`, in order of names; read in pages."""
        after = ""
        while True:
            page = await self._replica.contexts(prefix, after=after, limit=_PAGE)
            for state in page:
                if state.records:
                    yield ContextInfo(state.name, state.records, state.fingerprint.hex())
            if len(page) < _PAGE:
                return
            after = page[-1].name

    async def replay(self, receipt: Receipt | str) -> View:
        """The view that a receipt was given for, byte for byte. A string is the trace id of a view
        of this store; a receipt may come from any replica.

        Raises NotFound, MissingRecords, RendererMismatch, ReplayMismatch, ErasedContent.
        """
        if isinstance(receipt, str):
            receipt = await self._replica.receipts.find(receipt)
        if not isinstance(receipt, Receipt):
            raise CallerError(
                f"{type(receipt).__name__} is no receipt",
                hint="give a view's receipt or trace_id, or Receipt.from_json(...)",
            )
        return await self.context(receipt.context).replay(receipt)

    async def search(
        self,
        query: str,
        *,
        prefix: str = "",
        kind: str | None = None,
        role: str | None = None,
        author: str | None = None,
        since: datetime | int | None = None,
        until: datetime | int | None = None,
        order: Order = "relevance",
        limit: int = 20,
        offset: int = 0,
    ) -> list[Hit]:
        """As `Context.search`, in every context whose name starts with `prefix`."""
        return await self._replica.searching.find(
            query,
            prefix=prefix,
            kind=kind,
            role=role,
            author=author,
            since=since,
            until=until,
            order=order,
            limit=limit,
            offset=offset,
        )

    async def erasures(self) -> list[ErasureRow]:
        """Every erasure that this store knows of, oldest first: what was erased and why, whether
        that is done here, and the ids of the stores that confirmed it."""
        return await self._replica.erasing.all()

    def connect(
        self,
        url: str | Sequence[str],
        *,
        token: str | None = None,
        contexts: Iterable[str] | None = None,
        prefixes: Iterable[str] | None = None,
    ) -> Link:
        """Keep this store in step with the relay at `url`, such as ``wss://eu.example.com``; or
        with one of several, the first of them that works.

        Returns at once; the link reconnects until it is closed, refused, or the store closes. It
        carries every context, or those of `contexts` and those that begin with one of `prefixes`;
        `Link.subscribe` and `unsubscribe` change that while it is open. Raises CallerError for what
        is no address, LimitExceeded for too many.
        """
        urls = tuple(dict.fromkeys(sync_url(one) for one in _addresses(url)))
        if contexts is None and prefixes is None:
            prefixes = [""]
        link = Link(
            self._replica,
            urls,
            token=token,
            contexts=contexts or (),
            prefixes=prefixes or (),
            changed=self._changed,
            ended=self._forget,
        )
        self._links[link] = None
        self._changed()
        return link

    async def synced(
        self,
        *,
        timeout: float | None = None,
        received: bool = False,
        relays: int | None = None,
        regions: int | None = None,
    ) -> None:
        """Wait for every link as `Link.synced` does, or until that is so of so many `relays`.

        With `regions`, wait until all that the links carry is durable in at least so many regions
        of the mesh, whichever they are; what a relay says of regions behind it counts. Then not
        every link needs to be up. TimeoutError says who is behind.

        Raises CallerError if there are fewer links, or if fewer regions are known when the time is
        over (without a `timeout`, after some 20 s); or why one that is needed can't get there.
        """
        links = tuple(self._links)
        if regions is not None:
            if relays is not None or received:
                raise CallerError(
                    "regions were asked for together with relays or received",
                    hint="wait for one after the other",
                )
            kept = [link.kept for link in links]
            await until_held(kept, self._replica, regions=regions, timeout=timeout)
            return
        wanted = len(links) if relays is None else relays
        if not 1 <= wanted <= len(links):
            raise CallerError(
                f"{wanted} links can't be synced: the store has {len(links) or 'none'}",
                hint="connect it to a relay first",
            )
        try:
            async with asyncio.timeout(timeout):
                waits = [asyncio.create_task(link.synced(received=received)) for link in links]
                try:
                    await _succeeded(waits, wanted)
                finally:
                    for wait in waits:
                        wait.cancel()
                    await asyncio.gather(*waits, return_exceptions=True)
        except TimeoutError:
            how = "; ".join(link.how_it_is() for link in links)
            raise TimeoutError(f"not in step after {timeout} s: {how}") from None

    async def status(self) -> StoreStatus:
        """Whether the store is offline, connecting, live or refused, why, and how every link is."""
        links = tuple([await link.details() for link in tuple(self._links)])
        return store_status(links, await self._regions())

    async def _regions(self) -> tuple[RegionStatus, ...]:
        """How far each region is with what the links carry."""
        behind: dict[str, list[tuple[Interest, Mapping[ContextName, int] | None]]] = {}
        for link in tuple(self._links):
            carried = link.kept.carried
            for region, upto in self._replica.reach.holders(carried).items():
                counted = None
                if upto:
                    counted = await self._replica.journal.read(
                        partial(count_own, after=upto, behind={})
                    )
                behind.setdefault(region, []).append((carried, counted))
        return tuple(RegionStatus(name, _least(behind[name])) for name in sorted(behind))

    async def watch_status(self) -> AsyncIterator[StoreStatus]:
        """The status, and every other one from then on, until the store closes. A slow listener
        misses what was between, never the last one."""
        wake = asyncio.Event()
        self._watchers[wake] = None
        stop_listening = self._replica.journal.listen(lambda stored, session: wake.set())
        stop_hearing = self._replica.reach.listen(wake.set)
        shown: StoreStatus | None = None
        try:
            while not self._is_closed:
                wake.clear()
                try:
                    status = await self.status()
                except StoreClosed:
                    return
                if status != shown:
                    shown = status
                    yield status
                # Nobody tells of acknowledgements: they are looked for while some are to come.
                is_waiting = any(link.unsynced for link in status.links)
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_S if is_waiting else None):
                        await wake.wait()
        finally:
            stop_listening()
            stop_hearing()
            del self._watchers[wake]

    async def backup(self, path: str | os.PathLike[str]) -> None:
        """Copy the store as it is now to the new file `path`, while it stays in use.

        The copy is a store of its own, with all records, signatures and receipts, but with another
        identity and no private keys; `weft restore` makes a working store of it. Raises StoreError
        if the file exists or there is no room; then nothing was made.
        """
        await self._replica.receipts.flush()
        await asyncio.to_thread(
            back_up,
            self._replica.path,
            Path(path),
            now_ms=self._replica.now_ms(),
            random=os.urandom,
            check=None,
        )

    async def aclose(self) -> None:
        """End the links, finish what is being written, let go of the file. May be repeated."""
        self._is_closed = True
        self._changed()
        async with AsyncExitStack() as ends:
            # Last in, first out; and one that fails keeps none of the others from ending.
            ends.push_async_callback(self._replica.close)
            for link in tuple(self._links):
                ends.push_async_callback(link.aclose)

    def _forget(self, link: Link) -> None:
        self._links.pop(link, None)
        self._changed()

    def _changed(self) -> None:
        for wake in self._watchers:
            wake.set()


def _least(
    behind: Sequence[tuple[Interest, Mapping[ContextName, int] | None]],
) -> int | None:
    """How many records are behind, each context as well as any of the links that carry it knows;
    None if there is nothing known over any."""
    known = [(about, counted) for about, counted in behind if counted is not None]
    if not known:
        return None
    least: dict[ContextName, int] = {}
    for about, counted in known:
        for name, count in counted.items():
            others = [found.get(name, 0) for inside, found in known if inside.covers(name)]
            if about.covers(name):
                least[name] = min(count, *others)
    return sum(least.values())


def _addresses(url: str | Sequence[str]) -> Sequence[str]:
    urls = (url,) if isinstance(url, str) else tuple(url)
    if not urls:
        raise CallerError("no address of a relay is given", hint="give one or several")
    if len(urls) > RELAYS_PER_LINK_MAX:
        raise LimitExceeded(
            f"{len(urls)} addresses of relays exceed {RELAYS_PER_LINK_MAX}",
            hint="give one name for many relays of a region",
        )
    return urls


async def _succeeded(waits: Iterable[asyncio.Task[None]], wanted: int) -> None:
    """Wait until so many have; raise what failed when they can't any more."""
    left = set(waits)
    while wanted:
        done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        failed = [one for one in done if one.cancelled() or one.exception() is not None]
        wanted -= len(done) - len(failed)
        if failed and len(left) < wanted:
            failed[0].result()


@asynccontextmanager
async def open_store(
    path: str | os.PathLike[str], *, readonly: bool = False
) -> AsyncIterator[Store]:
    """The store in the file at `path`, made if it is not there: ``async with weft.open(...)``.

    One file has one writer; any number may open it with `readonly`, which sees what is committed
    and writes nothing, receipts included. Raises StoreLocked, NotAStore, NewerFormat, StoreError.
    """
    replica = Replica.open(
        Path(path),
        now_ms=lambda: time.time_ns() // 1_000_000,
        random=os.urandom,
        readonly=readonly,
        monotonic_ms=lambda: time.monotonic_ns() // 1_000_000,
    )
    store = Store(replica)
    try:
        yield store
    finally:
        await store.aclose()


def verify(path: str | os.PathLike[str]) -> Report:
    """Recompute every hash, signature and index of the store at `path`, which may be in use, and
    compare; takes a second for some ten thousand messages. `report.is_sound`, `report.findings`.

    Raises NotAStore, OlderFormat, NewerFormat, StoreError if it can't be read at all.
    """
    return _verify(Path(path), progress=lambda what, done, total: None)

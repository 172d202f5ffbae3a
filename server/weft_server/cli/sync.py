"""``weft sync``: bring a store and a relay in step, in both directions.

Must never know: frames, websockets.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from functools import partial
from random import SystemRandom
from typing import TYPE_CHECKING, Final

from weft_engine.errors import CallerError, LinkRefused
from weft_server.cli.output import Output
from weft_server.cli.store_file import add_store, open_to_write
from weft_server.cli.token_option import add_token, token_of
from weft_server.cli.wording import counted

if TYPE_CHECKING:
    from weft_engine.names import ContextName
    from weft_engine.replica.replica import Replica
    from weft_engine.storage.ledger import Stored
    from weft_engine.sync.driving.keeping import KeptLink
    from weft_engine.sync.interest import Interest

NAME: Final = "sync"
HELP: Final = "bring a store and a relay in step"

_TIMEOUT_S: Final = 60.0
_FAILURES_MAX: Final = 8
_NAMED_MAX: Final = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_store(parser)
    parser.add_argument(
        "urls",
        nargs="*",
        metavar="URL",
        help="the relay, such as ws://127.0.0.1:7300 or wss://eu.example.com; of several, the first"
        " that works",
    )
    parser.add_argument(
        "--url", action="append", default=[], metavar="URL", help="as URL, before those"
    )
    add_token(parser)
    parser.add_argument(
        "--prefix",
        action="append",
        metavar="PREFIX",
        help="only contexts whose names begin so, such as acme/; may be repeated",
    )
    parser.add_argument(
        "--until-synced",
        action="store_true",
        required=True,
        help="end when each side has durably what the other has: the one way there is yet",
    )
    parser.add_argument(
        "--regions",
        type=_count,
        metavar="N",
        help="and not before at least N regions have durably what the store has",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=_TIMEOUT_S,
        metavar="S",
        help="give up after so many seconds (%(default)g)",
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    return asyncio.run(_sync(arguments, output))


class _Failures:
    """Says why there is no link yet, each reason once: with patience it may come about."""

    def __init__(self, output: Output, timeout_s: float) -> None:
        self._output = output
        self._timeout_s = timeout_s
        self._said: set[str] = set()
        self.is_over = False
        """Whether it did come about, or is not tried any more."""

    def note(self, error: Exception | None) -> None:
        if self.is_over or error is None or isinstance(error, LinkRefused):
            return
        if len(self._said) == _FAILURES_MAX:
            return
        said = str(error)
        if said not in self._said:
            self._said.add(said)
            self._output.note(f"{said}; it is tried again, for {self._timeout_s:g} s in all")


class _Arrivals:
    """Counts what the relay brings, and shows it."""

    def __init__(self, output: Output) -> None:
        self.records = 0
        self._output = output

    def committed(self, stored: Sequence[Stored], session: bytes) -> None:
        if session:
            self.records += len(stored)
            self._output.progress("syncing, records received:", self.records)


async def _sync(arguments: argparse.Namespace, output: Output) -> int:
    from weft_engine.sync.binding import sync_url
    from weft_engine.sync.driving.keeping import keep_linked
    from weft_engine.sync.faults import LinkLost
    from weft_server.dialing import dial

    urls = [sync_url(url) for url in (*arguments.url, *arguments.urls)]
    if not urls:
        raise CallerError("no relay is named", hint="give its URL, such as ws://127.0.0.1:7300")
    token = token_of(arguments)
    interest = _interest(arguments.prefix)
    began_s = time.monotonic()
    failures = _Failures(output, arguments.timeout)
    async with await open_to_write(arguments.store) as replica:
        arrivals = _Arrivals(output)
        stop_counting = replica.journal.listen(arrivals.committed)
        try:
            async with keep_linked(
                [partial(dial, url, token) for url in urls],
                replica,
                random=SystemRandom().random,
                interest=interest,
                changed=lambda: failures.note(link.error),
            ) as link:
                try:
                    await link.until_synced(timeout=arguments.timeout)
                    if arguments.regions is not None:
                        await _until_held(
                            link, replica, arguments.regions, began_s, arguments.timeout
                        )
                except TimeoutError:
                    raise LinkLost(
                        f"{arguments.store} and {' or '.join(urls)} were not in step after"
                        f" {arguments.timeout:g} s: {link.error or link.status}",
                        hint="check that the relay runs and can be reached; what arrived is kept",
                    ) from link.error
                finally:
                    failures.is_over = True
                url = urls[link.place]
                saved = link.saved_last()
                regions = sorted(replica.reach.holders(link.carried))
            carried = interest if saved is None else saved.interest
            contexts, outside = await _contexts(replica, interest, carried)
        finally:
            stop_counting()
    took_s = round(time.monotonic() - began_s, 3)
    output.say(
        f"{arguments.store} and {url} are in step: {counted(contexts, 'context')},"
        f" {counted(arrivals.records, 'record')} received, {took_s} s"
    )
    if outside:
        named = ", ".join(map(repr, outside[:_NAMED_MAX]))
        more = ", ..." if len(outside) > _NAMED_MAX else ""
        output.note(
            f"contexts of {arguments.store} that the token does not cover, nothing of them was"
            f" synced: {len(outside):,} ({named}{more})"
        )
    output.data(
        {
            "synced": True,
            "url": url,
            "contexts": contexts,
            "contexts_not_allowed": len(outside),
            "records_received": arrivals.records,
            "regions": regions,
            "seconds": took_s,
        }
    )
    return 0


async def _until_held(
    link: KeptLink, replica: Replica, regions: int, began_s: float, timeout_s: float
) -> None:
    """LinkLost if that takes longer than `timeout_s` since it began: who is behind."""
    from weft_engine.sync.driving.held import until_held
    from weft_engine.sync.faults import LinkLost

    left_s = max(began_s + timeout_s - time.monotonic(), 0.0)
    try:
        await until_held([link], replica, regions=regions, timeout=left_s, whole_s=timeout_s)
    except TimeoutError as error:
        raise LinkLost(
            str(error), hint="what was sent is kept; give more time, or ask for fewer regions"
        ) from error


async def _contexts(
    replica: Replica, asked: Interest, carried: Interest
) -> tuple[int, list[ContextName]]:
    """Of the contexts that the store holds now and that were asked for: how many the link carries,
    and the names of those that it may not."""
    count = 0
    outside: list[ContextName] = []
    after = ""
    while page := await replica.contexts(after=after):
        for state in page:
            if state.records and asked.covers(state.name):
                if carried.covers(state.name):
                    count += 1
                else:
                    outside.append(state.name)
        after = page[-1].name
    return count, outside


def _interest(prefixes: Sequence[str] | None) -> Interest:
    from weft_engine.sync.interest import EVERYTHING, Interest

    return Interest.of(prefixes=prefixes) if prefixes else EVERYTHING


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of regions from 1")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds

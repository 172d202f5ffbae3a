"""Regions that link with each other: relays as processes, on loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import weft
from tests.running_relay import RunningRelay, until


def free_port() -> int:
    """One that nobody listens on just now: regions that dial each other know both addresses."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def regions(
    folder: Path, names: Sequence[str], dials: Sequence[tuple[str, str]]
) -> Iterator[dict[str, RunningRelay]]:
    """Insecure relays by region; each of `dials` is who dials whom."""
    ports = {name: free_port() for name in names}
    with ExitStack() as stack:
        found: dict[str, RunningRelay] = {}
        for name in names:
            more = [
                word
                for who, whom in dials
                if who == name
                for word in ("--peer", f"{whom}=ws://127.0.0.1:{ports[whom]}")
            ]
            relay = RunningRelay(
                folder / name, listen=f"127.0.0.1:{ports[name]}", region=name, more=more
            )
            stack.callback(relay.end)
            found[name] = relay
        yield found


async def names_of(store: weft.Store) -> set[str]:
    return {one.name async for one in store.contexts()}


async def test_what_is_written_in_one_region_comes_to_all(tmp_path: Path) -> None:
    """In a line, whose ends dial and are dialled; the middle passes on."""
    dials = [("eu", "us"), ("us", "eu"), ("ap", "us")]
    with regions(tmp_path, ["ap", "eu", "us"], dials) as relays:
        async with weft.open(tmp_path / "a.db") as a, weft.open(tmp_path / "b.db") as b:
            a.connect(relays["ap"].url)
            b.connect(relays["eu"].url)
            await a.context("acme/a").append("from ap")
            await b.context("acme/b").append("from eu")

            async def have_both() -> bool:
                both = {"acme/a", "acme/b"}
                return await names_of(a) == both and await names_of(b) == both

            await until(have_both, what="both devices have both contexts")

"""`link.subscribe` against a real relay: contexts come and go while the link is up, and the next
connection asks for what was asked for last."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import weft
from tests.running_relay import RunningRelay, running_relay, until
from weft_engine.errors import CallerError, InvalidName


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RunningRelay]:
    with running_relay(tmp_path / "relay") as found:
        yield found


async def names(store: weft.Store) -> set[str]:
    return {info.name async for info in store.contexts()}


async def test_contexts_are_carried_from_now_on(tmp_path: Path, relay: RunningRelay) -> None:
    async with weft.open(tmp_path / "a.db") as a, weft.open(tmp_path / "b.db") as b:
        for name in ("acme/1", "acme/2", "home/1", "home/2", "else/1"):
            await a.context(name).append(f"in {name}")
        everything = a.connect(relay.url)
        await everything.synced(timeout=20)
        link = b.connect(relay.url, contexts=["acme/1"])
        await link.synced(timeout=20, received=True)
        assert await names(b) == {"acme/1"}
        link.subscribe(contexts=["acme/2"], prefixes=["home/"])
        await link.synced(timeout=20, received=True)
        assert await names(b) == {"acme/1", "acme/2", "home/1", "home/2"}
        await a.context("home/3").append("live")
        await b.context("acme/2").append("and back")
        await everything.synced(timeout=20)
        await link.synced(timeout=20)

        async def is_there() -> bool:
            back = await a.context("acme/2").export()
            return "home/3" in await names(b) and len(back) == 2

        await until(is_there, what="what was subscribed to is live")
        link.unsubscribe(contexts=["acme/1"], prefixes=["home/"])
        await link.synced(timeout=20, received=True)
        await a.context("home/4").append("for others")
        await a.context("acme/2").append("for b")
        await everything.synced(timeout=20)

        async def is_live() -> bool:
            return len(await b.context("acme/2").export()) == 3

        await until(is_live, what="what stays is live")
        assert "home/4" not in await names(b)
        await link.aclose()
        await everything.aclose()


async def test_the_next_connection_asks_for_what_was_asked_for_last(
    tmp_path: Path, relay: RunningRelay
) -> None:
    async with weft.open(tmp_path / "a.db") as a, weft.open(tmp_path / "b.db") as b:
        link = b.connect(relay.url, contexts=["acme/1"])
        link.subscribe(contexts=["acme/2"])  # before anybody has said hello
        await link.synced(timeout=20, received=True)
        relay.kill()
        returned = relay.again()
        try:
            everything = a.connect(returned.url)
            await a.context("acme/2").append("after the restart")
            await everything.synced(timeout=20)

            async def is_there() -> bool:
                return await names(b) == {"acme/2"}

            await until(is_there, what="the link came back with what was asked for last")
            await everything.aclose()
            await link.aclose()
        finally:
            returned.end()


async def test_wrong_calls_change_nothing(tmp_path: Path, relay: RunningRelay) -> None:
    async with weft.open(tmp_path / "b.db") as b:
        link = b.connect(relay.url, contexts=["acme/1"])
        with pytest.raises(CallerError, match="'acme/9' by that name"):
            link.unsubscribe(contexts=["acme/9"])
        with pytest.raises(CallerError, match="prefix 'acme/1' by that name"):
            link.unsubscribe(prefixes=["acme/1"])
        with pytest.raises(CallerError, match="nothing would be left"):
            link.unsubscribe(contexts=["acme/1"])
        with pytest.raises(InvalidName):
            link.subscribe(contexts=["acme//2"])
        await b.context("acme/1").append("x")
        await link.synced(timeout=20, received=True)
        await link.aclose()

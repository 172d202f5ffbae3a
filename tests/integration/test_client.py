"""`import weft` as an application uses it: offline first, then with relays that come and go."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import weft
from tests.running_relay import RunningRelay, running_relay, until
from weft_engine.errors import CallerError

NOWHERE = "ws://127.0.0.1:9"
"""The discard port: nothing listens there."""


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRelay]:
    with running_relay(tmp_path_factory.mktemp("relay")) as found:
        yield found


async def texts(store: weft.Store, context: str) -> list[str]:
    exported = await store.context(context).export()
    return [json.loads(message)["content"] for message in exported]


async def fingerprints(store: weft.Store, prefix: str = "") -> dict[str, str]:
    return {info.name: info.fingerprint async for info in store.contexts(prefix)}


# ---- the package --------------------------------------------------------------------------------


def test_importing_weft_loads_nothing_heavy() -> None:
    program = "import sys, weft; print(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", program], text=True).split()
    heavy = {"pycrdt", "tiktoken", "uvicorn", "starlette", "websockets", "bpe_openai", "jwt"}
    assert not heavy.intersection(modules)


def test_opening_a_store_for_a_view_loads_nothing_heavy(tmp_path: Path) -> None:
    async def write() -> None:
        async with weft.open(tmp_path / "a.db") as store:
            await store.context("a").append([f"message {n}" for n in range(2_000)])

    asyncio.run(write())
    program = (
        "import asyncio, sys, weft\n"
        "async def run():\n"
        "    async with weft.open(sys.argv[1]) as store:\n"
        "        await store.context('a').view(budget=2_000, policy=weft.LastN(10))\n"
        "asyncio.run(run())\n"
        "print(*sys.modules)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a.db")]
    modules = subprocess.check_output(command, text=True).split()
    heavy = {"pycrdt", "tiktoken", "bpe_openai", "uvicorn", "starlette", "websockets", "jwt"}
    assert not heavy.intersection(modules)


def test_everything_that_is_promised_is_there() -> None:
    assert all(hasattr(weft, name) for name in weft.__all__)
    assert weft.__version__[0].isdigit()


async def test_what_is_no_receipt_is_not_replayed(tmp_path: Path) -> None:
    odd: list[Any] = [None, {"trace_id": "a"}, 5]
    async with weft.open(tmp_path / "a.db") as store:
        for receipt in odd:
            with pytest.raises(CallerError, match="is no receipt"):
                await store.replay(receipt)


# ---- without any network ------------------------------------------------------------------------


def test_contexts_are_listed_by_prefix_in_order_of_names(tmp_path: Path) -> None:
    async def run() -> None:
        async with weft.open(tmp_path / "a.db") as store:
            for name in ("b/2", "a/1", "b/1", "b"):
                await store.context(name).append("Hi")
            store.context("never/written")
            assert list(await fingerprints(store)) == ["a/1", "b", "b/1", "b/2"]
            assert list(await fingerprints(store, "b/")) == ["b/1", "b/2"]

    asyncio.run(run())


def test_64_appends_at_once_are_all_kept_in_order(tmp_path: Path) -> None:
    async def run() -> None:
        said = [f"message {n}" for n in range(64)]
        async with weft.open(tmp_path / "a.db") as store:
            await asyncio.gather(*(store.context("many").append(text) for text in said))
        async with weft.open(tmp_path / "a.db", readonly=True) as store:
            assert await texts(store, "many") == said

    asyncio.run(run())


def test_a_view_is_replayed_by_its_trace_id_and_by_its_receipt(
    relay: RunningRelay, tmp_path: Path
) -> None:
    async def run() -> None:
        async with weft.open(tmp_path / "a.db") as store, weft.open(tmp_path / "b.db") as other:
            chat = store.context("acme/chat")
            await chat.append(["Hi", {"role": "assistant", "content": "Hello"}])
            view = await chat.view(budget=1_000, trace_id="call-1")
            await chat.append("And then?")
            assert (await store.replay("call-1")).openai() == view.openai()
            with pytest.raises(weft.NotFound):
                await store.replay("call-2")
            # A receipt travels as JSON and is good wherever the records are.
            receipt = weft.Receipt.from_json(json.loads(json.dumps(view.receipt.to_json())))
            with pytest.raises(weft.MissingRecords):
                await other.replay(receipt)
            for one in (store, other):
                link = one.connect(relay.url, prefixes=["acme/"])
                await link.synced(timeout=10, received=True)
            assert (await other.replay(receipt)).openai() == view.openai()

    asyncio.run(run())


def test_one_file_has_one_writer_and_any_number_of_readers(tmp_path: Path) -> None:
    async def run() -> None:
        path = tmp_path / "a.db"
        async with weft.open(path) as store:
            await store.context("one").append("Hi")
            with pytest.raises(weft.StoreLocked) as caught:
                async with weft.open(path):
                    pass
            assert caught.value.pid is not None
            async with weft.open(path, readonly=True) as reader:
                assert reader.readonly
                assert await texts(reader, "one") == ["Hi"]
                with pytest.raises(weft.StoreClosed):
                    await reader.context("one").append("no")
        with pytest.raises(weft.StoreClosed):
            await store.context("one").append("too late")

    asyncio.run(run())


def test_who_looks_into_the_file_takes_nothing_away(tmp_path: Path) -> None:
    """A process that closes a file loses the locks it holds on it. Opening a store once closed the
    file so, and then any other program that closed it deleted the log with what came after."""

    async def run() -> None:
        path = tmp_path / "a.db"
        look = (
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]);"
            " print(c.execute('SELECT count(*) FROM records').fetchone()[0]); c.close()"
        )
        async with weft.open(path) as store:
            for count in (1, 2, 3):
                await store.context("one").append(f"message {count}")
                await store.context("one").view()
                async with weft.open(path, readonly=True) as reader:
                    assert len(await texts(reader, "one")) == count
                looking = await asyncio.create_subprocess_exec(
                    sys.executable, "-c", look, path, stdout=subprocess.PIPE
                )
                seen, _ = await looking.communicate()
                assert int(seen) == count

    asyncio.run(run())


# ---- with a relay -------------------------------------------------------------------------------


def test_what_one_writes_the_other_is_told_of(relay: RunningRelay, tmp_path: Path) -> None:
    async def run() -> None:
        async with weft.open(tmp_path / "a.db") as one, weft.open(tmp_path / "b.db") as two:
            for store in (one, two):
                await store.connect(relay.url, prefixes=["push/"]).synced(timeout=10)
            changes = two.context("push/chat").watch()
            for text in ("first", "second"):
                next_change = asyncio.ensure_future(anext(changes))
                # The watch begins with the first look at it.
                await asyncio.sleep(0)
                (event,) = await one.context("push/chat").append(text)
                async with asyncio.timeout(10):
                    change = await next_change
                assert change.events == (event,)
            assert await texts(two, "push/chat") == ["first", "second"]

    asyncio.run(run())


def test_offline_work_of_two_devices_is_merged(relay: RunningRelay, tmp_path: Path) -> None:
    async def run() -> None:
        async with weft.open(tmp_path / "a.db") as one, weft.open(tmp_path / "b.db") as two:
            await one.context("merge/chat").append("from one")
            await two.context("merge/chat").append("from two")
            for store in (one, two):
                link = store.connect(relay.url, prefixes=["merge/"])
                await link.synced(timeout=10, received=True)
            ours = await fingerprints(two)

            async def one_has_it() -> bool:
                return await fingerprints(one) == ours

            await until(one_has_it, what="the relay pushes what it got to the other device")
            views = [await store.context("merge/chat").view() for store in (one, two)]
            assert views[0].fingerprint == views[1].fingerprint
            assert views[0].openai() == views[1].openai()

    asyncio.run(run())


def test_a_burst_of_appends_reaches_the_other(relay: RunningRelay, tmp_path: Path) -> None:
    async def run() -> None:
        async with weft.open(tmp_path / "a.db") as one, weft.open(tmp_path / "b.db") as two:
            link = one.connect(relay.url, prefixes=["burst/"])
            await link.synced(timeout=10)
            names = [f"burst/{n % 4}" for n in range(64)]
            await asyncio.gather(*(one.context(name).append("x") for name in names))
            await link.synced(timeout=10)
            await two.connect(relay.url, prefixes=["burst/"]).synced(timeout=10, received=True)
            assert await fingerprints(two) == await fingerprints(one)

    asyncio.run(run())


def test_a_link_carries_only_what_it_was_asked_to(relay: RunningRelay, tmp_path: Path) -> None:
    async def run() -> None:
        async with weft.open(tmp_path / "a.db") as one, weft.open(tmp_path / "b.db") as two:
            for name in ("some/a", "some/b", "some/c/d"):
                await one.context(name).append("Hi")
            await one.connect(relay.url, prefixes=["some/"]).synced(timeout=10)
            link = two.connect(relay.url, contexts=["some/a"], prefixes=["some/c/"])
            await link.synced(timeout=10, received=True)
            assert list(await fingerprints(two)) == ["some/a", "some/c/d"]

    asyncio.run(run())


def test_a_killed_relay_that_returns_is_found_again(tmp_path: Path) -> None:
    async def run() -> None:
        with running_relay(tmp_path / "relay") as first:
            async with weft.open(tmp_path / "a.db") as one, weft.open(tmp_path / "b.db") as two:
                links = [store.connect(first.url) for store in (one, two)]
                await one.context("c").append("before")
                for link in links:
                    await link.synced(timeout=10)
                first.kill()
                for store, link in zip((one, two), links, strict=True):
                    await store.context("c").append("while it was away")
                    with pytest.raises(TimeoutError):
                        await link.synced(timeout=0.05)
                second = first.again()
                try:
                    for link in links:
                        await link.synced(timeout=10)
                    assert [link.status for link in links] == ["live", "live"]

                    async def in_step() -> bool:
                        return await fingerprints(one) == await fingerprints(two)

                    await until(in_step, what="both have what both wrote")
                    assert len(await texts(one, "c")) == 3
                finally:
                    second.end()

    asyncio.run(run())


def test_a_link_to_nowhere_costs_nothing_and_ends_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        async with weft.open(tmp_path / "a.db") as store:
            link = store.connect(NOWHERE)
            await store.context("c").append("works all the same")
            with pytest.raises(TimeoutError, match=f"after 0.2 s: {NOWHERE}"):
                await link.synced(timeout=0.2)
            assert link.status == "connecting"
            began_s = time.monotonic()
            await link.aclose()
            await link.aclose()
            assert time.monotonic() - began_s < 1
            assert link.status == "closed"
            with pytest.raises(weft.LinkLost):
                await link.synced(timeout=1)

    asyncio.run(run())


@pytest.mark.parametrize("url", ["http://host", "ws://", "host:80", "ws://u@host", "ws://h:99999"])
def test_what_is_no_address_is_said_at_once(tmp_path: Path, url: str) -> None:
    async def run() -> None:
        async with weft.open(tmp_path / "a.db") as store:
            with pytest.raises(CallerError, match="address"):
                store.connect(url)

    asyncio.run(run())


def test_a_store_that_closes_takes_its_links_with_it(relay: RunningRelay, tmp_path: Path) -> None:
    async def run() -> None:
        async with weft.open(tmp_path / "a.db") as store:
            live = store.connect(relay.url, prefixes=["closing/"])
            lost = store.connect(NOWHERE)
            await live.synced(timeout=10)
            await store.context("closing/c").append("last words")
            waiting = asyncio.ensure_future(lost.synced(timeout=10))
            watching = asyncio.ensure_future(_all(store.context("closing/c")))
            await asyncio.sleep(0)
        assert (live.status, lost.status) == ("closed", "closed")
        with pytest.raises(weft.LinkLost):
            await waiting
        async with asyncio.timeout(5):
            await watching
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not others

    async def _all(context: weft.Context) -> int:
        return sum([change.records async for change in context.watch()])

    asyncio.run(run())

"""Clients of a mesh: what they know of regions, and what happens when theirs goes away. Relays are
processes, on loopback."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

import weft
from tests.running_relay import regions, until
from weft_engine.errors import CallerError
from weft_engine.sync.binding import sync_url
from weft_engine.sync.driving import held
from weft_server.cli.dispatch import main

LINE = [("eu", "us"), ("us", "ap")]
FULL = [("eu", "us"), ("eu", "ap"), ("us", "ap")]
TIMEOUT_S = 20.0


async def test_what_is_written_is_known_to_be_in_every_region(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a line: the third region is known by what the second says of it."""
    with regions(tmp_path, ["eu", "us", "ap"], LINE) as relays:
        async with weft.open(tmp_path / "a.db") as store:
            with pytest.raises(CallerError, match="0 links"):
                await store.synced(regions=1, timeout=TIMEOUT_S)
            chat = store.context("acme/chat")
            await chat.append("before the link")
            link = store.connect(relays["eu"].url)
            # A relay that has just begun does not know yet who is behind its neighbours.
            await store.synced(regions=3, timeout=TIMEOUT_S)
            await chat.append("and after it")
            await link.synced(regions=3, timeout=TIMEOUT_S)
            status = await store.status()
            assert [(one.name, one.unsynced) for one in status.regions] == [
                ("ap", 0),
                ("eu", 0),
                ("us", 0),
            ]
            with pytest.raises(CallerError, match="4 regions were asked for, and there are 3"):
                await store.synced(regions=4, timeout=0.3)
            monkeypatch.setattr(held, "REGIONS_KNOWN_S", 0.2)
            with pytest.raises(CallerError, match="4 regions were asked for, and there are 3"):
                await store.synced(regions=4)
            relays["ap"].kill()
            await chat.append("while one is away")
            await store.synced(regions=2, timeout=TIMEOUT_S)
            with pytest.raises(TimeoutError, match="held by eu, us and not known to be by ap"):
                await store.synced(regions=3, timeout=0.3)
            status = await store.status()
            assert [(one.name, one.unsynced) for one in status.regions] == [
                ("ap", 1),
                ("eu", 0),
                ("us", 0),
            ]
            back = relays["ap"].again()
            try:
                await store.synced(regions=3, timeout=TIMEOUT_S)
            finally:
                back.end()


async def test_what_came_from_elsewhere_counts_too(tmp_path: Path) -> None:
    with regions(tmp_path, ["eu", "us"], [("eu", "us")]) as relays:
        async with weft.open(tmp_path / "a.db") as a, weft.open(tmp_path / "b.db") as b:
            a.connect(relays["eu"].url)
            b.connect(relays["us"].url)
            await a.context("acme/a").append("x")
            await a.synced(regions=2, timeout=TIMEOUT_S)
            await b.context("acme/b").append("y")

            async def came() -> bool:
                return {one.name async for one in a.contexts()} == {"acme/a", "acme/b"}

            await until(came, what="a has what b wrote")
            await a.synced(regions=2, timeout=TIMEOUT_S)
            await b.synced(regions=2, timeout=TIMEOUT_S)


async def test_without_a_relay_it_waits_for_its_first_word(tmp_path: Path) -> None:
    async with weft.open(tmp_path / "a.db") as store:
        store.connect("ws://127.0.0.1:1")
        await store.context("acme/a").append("x")
        with pytest.raises(TimeoutError, match="no relay has said yet which regions there are"):
            await store.synced(regions=2, timeout=0.3)
        with pytest.raises(CallerError):
            await store.synced(regions=0, timeout=0.3)
        with pytest.raises(CallerError):
            await store.synced(regions=1, relays=1, timeout=0.3)


def test_the_command_waits_for_regions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with regions(tmp_path, ["eu", "us"], [("eu", "us")]) as relays:
        store = ["--store", str(tmp_path / "a.db")]
        assert main(["append", *store, "acme/a", "x"]) == 0
        sync = ["sync", *store, relays["eu"].url, "--until-synced", "--json"]
        capsys.readouterr()
        assert main([*sync, "--regions", "2"]) == 0
        assert json.loads(capsys.readouterr().out)["regions"] == ["eu", "us"]
        assert main([*sync, "--regions", "3", "--timeout", "2"]) != 0
        assert "3 regions were asked for, and there are 2" in capsys.readouterr().err
        relays["us"].kill()
        assert main(["append", *store, "acme/a", "y"]) == 0
        assert main([*sync, "--regions", "2", "--timeout", "1.5"]) != 0
        said = capsys.readouterr().err
        assert "not in 2 regions after 1.5 s: held by eu and not known to be by us" in said


async def test_a_client_goes_on_in_another_region(tmp_path: Path) -> None:
    """Its region is killed in the middle of appends and of a stream: nothing is lost, nothing is
    there twice, and what is not saved is known."""
    appends = 150
    with regions(tmp_path, ["eu", "us", "ap"], FULL) as relays:
        async with weft.open(tmp_path / "a.db") as a, weft.open(tmp_path / "b.db") as b:
            link = a.connect([relays["eu"].url, relays["us"].url])
            b.connect(relays["ap"].url)
            chat, other = a.context("acme/chat"), a.context("acme/other")
            await a.synced(regions=1, timeout=TIMEOUT_S)
            said: list[str] = []
            async with chat.stream(author="bot") as stream:
                for number in range(appends):
                    said.extend(await other.append(f"{number}"))
                    await stream.write(f"{number} ")
                    if number == appends // 2:
                        relays["eu"].kill()
                    await asyncio.sleep(0)
            await a.synced(regions=2, timeout=TIMEOUT_S)
            assert link.url == sync_url(relays["us"].url)
            assert not await other.unsynced()
            assert not await chat.unsynced()
            status = await a.status()
            assert [(one.name, one.unsynced) for one in status.regions if one.name != "eu"] == [
                ("ap", 0),
                ("us", 0),
            ]
            assert next(one for one in status.regions if one.name == "eu").unsynced

            async def came() -> bool:
                names = ("acme/chat", "acme/other")
                theirs = [await b.context(name).fingerprint() for name in names]
                return theirs == [await a.context(name).fingerprint() for name in names]

            await until(came, what="another region's client has all")
            held = [event.id async for event in b.context("acme/other").events()]
            assert held == said
            assert await b.context("acme/chat").export() == await chat.export()
            # What it lacks is what it gets when it is back.
            back = relays["eu"].again()
            try:
                await a.synced(regions=3, timeout=TIMEOUT_S)
            finally:
                back.end()

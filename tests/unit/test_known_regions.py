"""What a relay remembers of other regions, in memory and over a restart."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import Any, cast

import pytest

from weft_engine.names import Position
from weft_engine.storage.known_regions import KnownRegion, load_regions, save_regions
from weft_server.mesh.memory import FORGET_MS, REGIONS_MAX, Memory
from weft_server.mesh.region_links import RegionLink
from weft_server.mesh.standing import Standing

NOW_MS = 1_700_000_000_000
US = KnownRegion("us", Position(7), NOW_MS - 5, NOW_MS - 3, b"s" * 16, b"e" * 8)
AP = KnownRegion("ap", None, NOW_MS, NOW_MS - 9)
LINK = cast(RegionLink, object())


@pytest.fixture
def connection() -> sqlite3.Connection:
    found = sqlite3.connect(":memory:")
    found.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID")
    return found


def test_what_is_saved_is_loaded(connection: sqlite3.Connection) -> None:
    assert load_regions(connection, store=b"1") == []
    save_regions(connection, [AP], store=b"1")
    save_regions(connection, [US, AP], store=b"1")
    assert load_regions(connection, store=b"1") == [US, AP]


def test_in_another_store_nobody_holds_anything(connection: sqlite3.Connection) -> None:
    save_regions(connection, [US], store=b"1")
    assert load_regions(connection, store=b"2") == [replace(US, upto=None)]


@pytest.mark.parametrize("value", ["", "[]", '{"store": "31", "regions": [{"name": "us"}]}', b"\0"])
def test_a_damaged_row_is_nothing(connection: sqlite3.Connection, value: Any) -> None:
    connection.execute("INSERT INTO meta VALUES ('regions', ?)", (value,))
    assert load_regions(connection, store=b"1") == []


def look(memory: Memory, now_ms: int, *linked: Standing, **holders: int) -> None:
    standings = {one.region: one for one in linked}
    memory.look(
        {name: Position(upto) for name, upto in holders.items()},
        standings.get,
        since_ms=lambda upto: now_ms - 100,
        now_ms=now_ms,
    )


def test_what_was_known_stays_while_nobody_tells_more() -> None:
    memory = Memory()
    memory.recall([US, AP], configured={"us"}, now_ms=NOW_MS)
    look(memory, NOW_MS, us=0, ap=0, za=0)
    assert list(memory) == [US, AP]
    look(memory, NOW_MS, us=9, ap=0)
    assert memory.of("us") == replace(US, upto=Position(9), since_ms=NOW_MS - 100, heard_ms=NOW_MS)
    look(memory, NOW_MS + 50, us=9)
    known = memory.of("us")
    assert known is not None
    assert known.heard_ms == NOW_MS, "the same again is no news"


def test_a_linked_region_is_heard_of_all_the_time() -> None:
    memory = Memory()
    us = Standing("us", US.store, US.epoch, current=LINK)
    memory.recall([US], configured=set(), now_ms=NOW_MS)
    look(memory, NOW_MS, us, us=0)
    assert memory.of("us") == replace(US, since_ms=NOW_MS - 100, heard_ms=NOW_MS)
    us.current = None
    look(memory, NOW_MS + 50, us, us=0)
    assert memory.of("us") == replace(US, since_ms=NOW_MS - 100, heard_ms=NOW_MS)


def test_how_far_a_region_was_when_its_link_ended_is_known() -> None:
    memory = Memory()
    us = Standing("us", US.store, US.epoch)
    memory.left(us, since_ms=lambda upto: NOW_MS - 100, now_ms=NOW_MS)
    assert list(memory) == []
    us.acknowledged = Position(9)
    memory.left(us, since_ms=lambda upto: NOW_MS - 100, now_ms=NOW_MS)
    known = replace(US, upto=Position(9), since_ms=NOW_MS - 100, heard_ms=NOW_MS)
    assert list(memory) == [known]
    look(memory, NOW_MS + 50, us, us=0)
    assert list(memory) == [known]


def test_a_region_with_another_store_holds_nothing_yet() -> None:
    memory = Memory()
    memory.recall([US], configured=set(), now_ms=NOW_MS)
    look(memory, NOW_MS, Standing("us", b"t" * 16, US.epoch, current=LINK), us=0)
    known = memory.of("us")
    assert known is not None
    assert known.upto is None
    assert known.store == b"t" * 16


def test_who_is_not_heard_of_is_forgotten() -> None:
    memory = Memory()
    old = NOW_MS - FORGET_MS - 1
    found = [replace(US, heard_ms=old), replace(AP, heard_ms=old), replace(AP, name="za")]
    memory.recall(found, configured={"us"}, now_ms=NOW_MS)
    assert memory.names == ["us", "za"]
    look(memory, NOW_MS, **{f"r{number}": 1 for number in range(REGIONS_MAX)})
    assert len(list(memory)) == REGIONS_MAX
    assert memory.of("us") is None

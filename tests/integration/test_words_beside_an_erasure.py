"""Tabs of one browser bring the same words to two relays; an event that stood beside them in one
of the records is erased by who does not hold that record. The words stay, wherever what is left of
it came first. And a store's own words stay that somebody had claimed the clocks of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pycrdt

from tests.integration.test_live_document import NAME, Room, room
from tests.stores import give, open_replica
from tests.worlds import CONTEXT
from weft_engine.events.codec import encode_event
from weft_engine.events.event import Event, Message, Role
from weft_engine.events.part import Text
from weft_engine.names import Hlc, event_id
from weft_engine.records.identity import client_id
from weft_engine.replica.live import LiveDocument
from weft_engine.replica.replica import Replica
from weft_engine.yjs.encoder import EVENTS_ROOT

PLAN = "note:plan"


async def shown(replica: Replica) -> list[str]:
    """The note, and what Yjs clients see of it."""
    live = LiveDocument(replica, NAME)
    await live.load()
    document: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    document.apply_update(live.encoded())
    return [
        await replica.context(CONTEXT).note("plan").text(),
        str(document.get(PLAN, type=pycrdt.Text)),
    ]


async def test_words_are_kept_whatever_came_first(tmp_path: Path) -> None:
    tab: pycrdt.Doc[Any] = pycrdt.Doc(client_id=7)
    async with room(tmp_path) as here, open_replica(tmp_path / "b.db") as other:
        there = Room(other)
        await there.live.load()
        event = event_id(Hlc(here.replica.now_ms() << 16), here.replica.scribe.incarnation)
        said = encode_event(Event("tab", Message(Role.USER, (Text("burn"),)))).decode()
        tab.get(EVENTS_ROOT, type=pycrdt.Map)[event] = said
        await here.take(tab.get_update())
        known = tab.get_state()
        tab.get(PLAN, type=pycrdt.Text).insert(0, "words")
        await here.take(tab.get_update(known))
        await there.take(tab.get_update())
        await here.replica.context(CONTEXT).erase(event=event, reason="asked to")
        await here.live.load()
        for order, name in (((here, there), "c.db"), ((there, here), "d.db")):
            for seed in range(2):
                async with open_replica(tmp_path / name, seed=seed) as replica:
                    for one in order:
                        await give(one.replica, replica)
                    await replica.erasing.done()
                    assert await shown(replica) == ["words" + "." * seed] * 2, name
                    await replica.context(CONTEXT).note("plan").append(".")
                    assert await shown(replica) == ["words" + "." * (seed + 1)] * 2, name


async def test_a_store_whose_clocks_somebody_claimed_keeps_its_words(tmp_path: Path) -> None:
    async with room(tmp_path) as relay, open_replica(tmp_path / "s.db") as store:
        claimed = client_id(store.scribe.incarnation, CONTEXT)
        tab: pycrdt.Doc[Any] = pycrdt.Doc(client_id=claimed)
        tab.get(PLAN, type=pycrdt.Text).insert(0, "claimed")
        await relay.take(tab.get_update())
        await store.context(CONTEXT).note("plan").append("mine")
        await give(store, relay.replica)
        await give(relay.replica, store)
        await store.context(CONTEXT).note("plan").append(", and on")
        await give(store, relay.replica)
        texts = {*await shown(store), *await shown(relay.replica)}
        assert len(texts) == 1
        assert "mine" in min(texts)
        assert ", and on" in min(texts)

"""Hostile updates at the door, the accepted ones in a document, and all of it in a real replica."""

from __future__ import annotations

import random
from functools import cache, partial
from pathlib import Path
from typing import Any

import pycrdt

from tests.simulation.mutation import mutated
from tests.stores import folder, open_replica
from tests.unit.yjs_bytes import in_root, string, update_of
from weft_engine.document.assembly import Assembly
from weft_engine.document.document import Document, is_panic
from weft_engine.document.door import let_in
from weft_engine.errors import MalformedRecord
from weft_engine.names import ClientId, ContextName, EventId, Hlc, RecordHash
from weft_engine.records.digest import payload_digest
from weft_engine.records.envelope import Envelope, Kind, Record, seal
from weft_engine.records.identity import WriterKey
from weft_engine.replica.replica import Replica
from weft_engine.yjs.encoder import encode_event_append

GROUP = 2000
"""Cases that share a context."""
_CONTEXT = ContextName("hunt")


@cache
def corpus() -> tuple[bytes, ...]:
    """Real updates of every kind that pycrdt writes, and event appends."""
    found: list[bytes] = []
    for client in (1, 7, 2**32 + 9):
        found += _appends(ClientId(client))
        doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=client)
        subscription = doc.observe(lambda event, found=found: found.append(event.update))
        _write(doc)
        doc.unobserve(subscription)
        found.append(doc.get_update())
        # A subdocument from pycrdt has a random name, and options in random order.
        found.append(update_of(in_root(9, string("0" * 36) + b"\x76\x00"), client=client + 1))
    found.append(pycrdt.merge_updates(*found[:6]))
    return tuple(found)


def _appends(client: ClientId) -> list[bytes]:
    ids = [EventId(f"{n:016x}-{client:032x}") for n in range(3)]
    body = '{"a":"t","b":"naïve 😀"}'.encode()
    one = encode_event_append(client, 0, [(ids[0], body)]).payload
    return [one, encode_event_append(client, 1, [(id_, body * 3) for id_ in ids[1:]]).payload]


def _write(doc: pycrdt.Doc[Any]) -> None:
    note = doc.get("note:plan", type=pycrdt.Text)
    note += "Grüße 😀 from "
    note.insert(2, "👩‍👩‍👧")
    with doc.transaction():
        note += "here"
        del note[0:1]
    note.format(1, 3, {"bold": True})
    note.insert_embed(0, {"image": [1, 2.5, None]})
    things = doc.get("things", type=pycrdt.Map)
    things["map"] = pycrdt.Map({"list": pycrdt.Array([1, "two", pycrdt.Text("three")])})
    things["map"]["list"].append(pycrdt.Map({"deep": pycrdt.Array([b"bytes", True, None, -7])}))
    # One key each: pycrdt writes them in random order.
    things["one"] = {"a": [1, {"b": 2.25}, {"big": 2**40}]}
    things["one"] = "again"
    del things["map"]
    items = doc.get("items", type=pycrdt.Array)
    items.extend(["x", 1, {"k": []}])
    del items[1:2]
    xml = doc.get("xml", type=pycrdt.XmlFragment)
    element = xml.children.append(pycrdt.XmlElement("p", {"class": "c"}))
    element.children.append(pycrdt.XmlText("text in it"))
    del note[len(str(note).encode()) - 3 : len(str(note).encode()) - 1]


class _Chain:
    """Records of one writer around payloads, whatever they are."""

    def __init__(self, seed: bytes) -> None:
        self.key = WriterKey(seed)
        self.tip: RecordHash | None = None
        self.records: list[Record] = []

    def around(self, payload: bytes) -> Record:
        count = len(self.records) + 1
        envelope = Envelope(
            _CONTEXT,
            self.key.incarnation,
            count,
            self.tip,
            (),
            Hlc(count << 16),
            Kind.FOREIGN,
            payload_digest(payload),
        )
        return seal(envelope, payload)

    def add(self, record: Record) -> None:
        self.records.append(record)
        self.tip = record.hash


async def hunt_updates(seed: int, group: int, cases: int) -> int:
    """Hunt through one group; how many updates were accepted. Raises what it finds."""
    rng = random.Random(f"updates-{seed}-{group}")
    known = corpus()
    material = list(known)
    chain = _Chain(rng.randbytes(32))
    assembly = Assembly(partial(Document, ClientId(0)), is_panic)
    sound = rng.sample(known, rng.randrange(len(known)))
    for case in range(cases):
        if case < len(known):
            # There is something to build on: what is unchanged, in its order but for what lacks.
            data = known[case] if known[case] in sound else known[0]
        else:
            data = mutated(rng, rng.choice(material), known)
        record = chain.around(data)
        try:
            let_in(record.envelope_bytes, record.payload)
        except MalformedRecord:
            continue
        chain.add(record)
        if len(data) < 4096:
            # What was accepted once is built upon: that leads deeper.
            if len(material) < 4 * len(known):
                material.append(data)
            else:
                material[rng.randrange(len(known), len(material))] = data
        if not assembly.take([record]):
            assembly.take_all(chain.records)
    assembly.document.encoded()
    with folder() as where:
        await _check_replica(where / "hunt.weft", chain)
    return len(chain.records)


async def _check_replica(path: Path, chain: _Chain) -> None:
    """A context that holds all of it can be read and written, by who was there and who opens it."""
    async with open_replica(path) as replica:
        if chain.records:
            outcome = await replica.journal.admit(
                chain.records,
                [chain.key.sign(chain.records[-1].hash)],
                session=b"hunt",
                now_ms=replica.now_ms(),
            )
            assert len(outcome.applied) == len(chain.records)
        text = await _use(replica)
    async with open_replica(path, seed=1) as replica:
        assert await replica.context(_CONTEXT).note("plan").text() == text
        await _use(replica)


async def _use(replica: Replica) -> str:
    context = replica.context(_CONTEXT)
    (said,) = await context.append("still here")
    assert said in [one.id async for one in context.history()]
    view = await context.view()
    assert "still here" in str(view.messages)
    note = context.note("plan")
    before = await note.text()
    await note.insert(len(before), "after")
    await note.insert(0, "and ")
    await note.delete(0, 2)
    text = await note.text()
    assert text == f"d {before}after", (text, before)
    return text

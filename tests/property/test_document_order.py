"""The document of a context follows from the set of its records: no causal order of them, no
checkpoint between and no stand-in that came before the words makes another one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import Any

import pycrdt
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worlds import CONTEXT, Author, causal_shuffle
from weft_engine.document.assembly import Assembly
from weft_engine.document.document import Document, is_panic
from weft_engine.document.rebuild import Rebuild
from weft_engine.names import ClientId, NoteName, RecordHash
from weft_engine.records.clock import HybridClock
from weft_engine.records.envelope import Kind, Record
from weft_engine.records.identity import WriterKey, client_id
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.stand_in import Anatomy

PLAN = NoteName("plan")
Tab = pycrdt.Doc[Any]


def empty() -> Assembly[Document]:
    return Assembly(partial(Document, ClientId(0)), is_panic)


def shown(assembly: Assembly[Document]) -> dict[str, object]:
    content = assembly.document.content()
    assert content is not None
    return {root: held for root, held in content.items() if held}


def anew(records: list[Record]) -> Assembly[Document]:
    assembly = empty()
    assembly.take_all(records)
    return assembly


@dataclass
class Relay:
    """It writes down what tabs send it, and has the document of what it holds. A liar among them
    writes down what points to nothing, too."""

    author: Author
    is_liar: bool
    journal: list[Record] = field(default_factory=list)
    assembly: Assembly[Document] = field(default_factory=empty)

    def take(self, update: bytes) -> list[Record]:
        if self.assembly.lacks(read_update(update)) and not self.is_liar:
            return []
        return [self.write(update, Kind.FOREIGN)]

    def write(self, update: bytes, kind: Kind) -> Record:
        record = self.author.write_payload(update, kind)
        self.hear([record])
        return record

    def hear(self, records: list[Record]) -> None:
        for record in records:
            self.author.receive(record)
        self.journal += records
        self.assembly = anew(self.journal)

    def edit(self, rng: Random, written: int) -> list[Record]:
        """As a store, which has `written` clocks of its own; it goes on only as long as nobody has
        written under its client id."""
        incarnation = self.author.key.incarnation
        document = Document(client_id(incarnation, CONTEXT))
        document.apply(self.assembly.document.encoded())
        if document.clock != written:
            return []
        update = document.edit(PLAN, 0, 0, rng.choice("ijkl"))
        return [] if update is None else [self.write(update, Kind.NATIVE)]


def type_(rng: Random, tab: Tab) -> None:
    text = tab.get(f"note:{rng.choice(('plan', 'todo'))}", type=pycrdt.Text)
    if len(text) > 2 and rng.random() < 0.3:
        at = rng.randrange(len(text) - 1)
        del text[at : at + rng.choice((1, 2))]
    else:
        text.insert(rng.randint(0, len(text)), rng.choice("abcdefgh") * rng.choice((1, 3)))


def history(rng: Random) -> list[Record]:
    """Tabs that share what they write, at two relays; a store, and a tab that claims its clocks in
    some histories, and one with another's client id in some; some of what is written is erased on
    the way."""
    keys = [WriterKey(rng.randbytes(32)) for _ in range(3)]
    lies = rng.random() < 0.3
    *relays, store = [Relay(Author(key, HybridClock(), wall_ms=9), lies) for key in keys]
    claimed = client_id(keys[2].incarnation, CONTEXT) if lies else 9
    numbers = (7, 8, claimed, 7) if rng.random() < 0.3 else (7, 8, claimed)
    tabs: list[Tab] = [pycrdt.Doc(client_id=number) for number in numbers]
    made: list[Record] = []
    stands: dict[RecordHash, Record] = {}
    written = 0
    for step in range(rng.randint(6, 24)):
        tab, relay = rng.choice(tabs), rng.choice(relays)
        match rng.randrange(12):
            case 0 | 1 | 2:
                type_(rng, tab)
            case 3:
                tab.get("events", type=pycrdt.Map)[rng.choice("xyz")] = str(step)
            case 4:
                tab.apply_update(rng.choice(tabs).get_update())
            case 5 | 6 | 7:
                way = rng.random()
                since = relay.assembly.document.state_vector()
                if way < 0.2:
                    since = rng.choice(tabs).get_state()
                made += relay.take(tab.get_update() if way < 0.6 else tab.get_update(since))
                if rng.random() < 0.5:
                    tab.apply_update(relay.assembly.document.encoded())
            case 8 | 9 if made:
                record = rng.choice(made)
                anatomy = Anatomy.of(stands.get(record.hash, record).payload)
                some = [index for index in range(len(anatomy.spans)) if rng.random() < 0.5]
                payload = anatomy.blank() if rng.random() < 0.5 else anatomy.without(some)
                stands[record.hash] = replace(record, payload=payload)
                for one in (*relays, store):
                    one.journal = [stands.get(held.hash, held) for held in one.journal]
                    one.hear([])
            case 10:
                edited = store.edit(rng, written)
                written += len(edited)
                made += edited
            case _:
                one, other = rng.sample((*relays, store), 2)
                held = {record.hash for record in one.journal}
                one.hear([record for record in other.journal if record.hash not in held])
    return [stands.get(record.hash, record) for record in made]


def followed(rng: Random, records: list[Record]) -> Assembly[Document]:
    """Record by record, with a restart from a checkpoint now and then."""
    assembly = empty()
    for number, record in enumerate(records, 1):
        if not assembly.take([record]):
            assembly = anew(records[:number])
        if assembly.is_plain and rng.random() < 0.3:
            rebuild = Rebuild()
            rebuild.take(records[:number])
            if rebuild.is_sound:
                assembly = empty()
                assert assembly.restore(rebuild.encoded(), dict(rebuild.tips))
    return assembly


@given(st.integers(0, 1 << 32))
@settings(max_examples=150, deadline=None)
def test_the_document_follows_from_the_set_of_its_records(seed: int) -> None:
    rng = Random(seed)
    records = history(rng)
    wanted = anew(records)
    for _ in range(4):
        shuffled = causal_shuffle(rng, records)
        for found in (anew(shuffled), followed(rng, shuffled)):
            assert shown(found) == shown(wanted)
            assert found.document.clocks() == wanted.document.clocks()
            assert found.problems == wanted.problems

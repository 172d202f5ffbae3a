from __future__ import annotations

import random
from dataclasses import replace

import pycrdt

from tests.simulation.merging import merged
from tests.worlds import Author
from weft_engine.records.clock import HybridClock
from weft_engine.records.envelope import Record
from weft_engine.records.identity import WriterKey
from weft_engine.yjs.stand_in import Anatomy


def blank(record: Record) -> Record:
    return replace(record, payload=Anatomy.of(record.payload).blank())


def shown(data: bytes) -> str:
    document: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    document.apply_update(data)
    return str(document.get("note:plan", type=pycrdt.Text))


def test_a_blank_that_repeats_words_takes_none_of_them_away() -> None:
    author = Author(WriterKey(random.Random(1).randbytes(32)), HybridClock())
    document: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc(client_id=7)
    text = document.get("note:plan", type=pycrdt.Text)
    text += "words"
    said = author.write_update(document.get_update(), 5)
    text += " of one, and what one had said again with something that was erased"
    assert shown(merged([said, blank(author.write_update(document.get_update(), 67))])) == "words"
    # What only the blank gave out is there, so that what comes behind it finds its place.
    known = document.get_state()
    text.insert(0, "more ")
    behind = author.write_update(document.get_update(known), 5)
    again = blank(author.write_update(document.get_update(), 77))
    some = [said, blank(replace(author.chain[1])), behind, again]
    assert shown(merged(some)) == "more words"

"""Splitting an update: the parts say the same in their order, and each is sound on its own."""

from __future__ import annotations

import random
from typing import Any

import pycrdt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.yjs_bytes import update_of
from weft_engine.document.waiting import needs
from weft_engine.errors import MalformedUpdate
from weft_engine.names import ClientId
from weft_engine.yjs.lib0 import read_var_uint, var_uint
from weft_engine.yjs.portions import portions
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.splitting import split, without_deletes
from weft_engine.yjs.update import Kind, ranges


def world(seed: int) -> pycrdt.Doc[Any]:
    """A document that three clients have edited, sometimes in ignorance of each other."""
    rng = random.Random(seed)
    documents: list[pycrdt.Doc[Any]] = [pycrdt.Doc(client_id=client) for client in (5, 3, 9)]
    for _ in range(rng.randrange(5, 60)):
        document = rng.choice(documents)
        text = document.get("note:a", type=pycrdt.Text)
        size = len(text)
        if size and rng.random() < 0.3:
            at = rng.randrange(size)
            del text[at : min(size, at + rng.randrange(1, 4))]
        else:
            text.insert(rng.randrange(size + 1), rng.choice("abcdef") * rng.randrange(1, 4))
        if rng.random() < 0.4:
            document.get("events", type=pycrdt.Map)[rng.choice("xyz")] = "v"
        if rng.random() < 0.3:
            one, other = rng.sample(documents, 2)
            one.apply_update(other.get_update(one.get_state()))
    for other in documents[1:]:
        documents[0].apply_update(other.get_update(documents[0].get_state()))
    return documents[0]


@given(st.integers(0, 10**9), st.integers(1, 12), st.integers(1, 12))
def test_parts_say_the_same_and_need_only_what_came(seed: int, structs: int, woven: int) -> None:
    whole = world(seed)
    data = whole.get_update()
    parts = split(data, structs_max=structs, woven_max=woven)
    known: dict[ClientId, int] = {}
    rebuilt: pycrdt.Doc[Any] = pycrdt.Doc()
    for part in parts:
        update = read_update(part)
        assert len(update.structs) <= structs
        assert update.woven <= woven
        assert all(known.get(client, 0) >= end for client, end in needs(update).items())
        for client, spans in ranges(update).items():
            known[client] = spans[-1][1]
        rebuilt.apply_update(part)
    clocks = {client: spans[-1][1] for client, spans in ranges(read_update(data)).items()}
    assert known == clocks
    assert str(rebuilt.get("note:a", type=pycrdt.Text)) == str(
        whole.get("note:a", type=pycrdt.Text)
    )
    assert sum(len(read_update(part).structs) for part in parts) == len(read_update(data).structs)


def test_what_fits_is_left_as_it_is() -> None:
    data = world(1).get_update()
    assert split(data, structs_max=10_000, woven_max=10_000) == [data]
    assert read_update(without_deletes(data)).structs == read_update(data).structs
    assert not read_update(without_deletes(data)).deletes


def test_structs_that_wait_for_each_other_are_refused() -> None:
    def pointing(client: int, at: int) -> bytes:
        return b"\x84" + var_uint(client) + var_uint(at) + b"\x01a"

    one = var_uint(1) + var_uint(1) + b"\x00" + pointing(2, 0)
    other = var_uint(1) + var_uint(2) + b"\x00" + pointing(1, 0)
    with pytest.raises(MalformedUpdate, match="circle"):
        split(b"\x02" + one + other + b"\x00", structs_max=1, woven_max=1)


def test_an_unsound_update_is_refused() -> None:
    for data in (b"", b"\x01", update_of(b"\x04\x01\x01t\x01a") + b"x"):
        with pytest.raises(MalformedUpdate):
            split(data, structs_max=1, woven_max=1)


@given(st.integers(0, 10**9), st.integers(4, 60))
def test_portions_say_the_same_and_are_no_larger(seed: int, bytes_max: int) -> None:
    whole = world(seed)
    note = whole.get("note:a", type=pycrdt.Text)
    note.insert(len(note) // 2, "aé👍€𝒳" * (seed % 60))
    del note[0 : len(note) // 5]
    data = whole.get_update()
    rebuilt: pycrdt.Doc[Any] = pycrdt.Doc()
    parts = portions(data, bytes_max=bytes_max)
    for part in parts:
        update = read_update(part)
        texts = [
            struct.content[1]
            for struct in update.structs
            if struct.kind is Kind.STRING and struct.content
        ]
        assert all(size <= bytes_max for size in texts)
        known = ends(rebuilt)
        assert all(end <= known.get(client, 0) for client, end in needs(update).items())
        rebuilt.apply_update(part)
    # What stands beside each other may be in one struct or in two; which is not said anywhere.
    assert ends(rebuilt) == ends(whole)
    assert str(rebuilt.get("note:a", type=pycrdt.Text)) == str(note)
    assert rebuilt.get("events", type=pycrdt.Map).to_py() == (
        whole.get("events", type=pycrdt.Map).to_py()
    )


def ends(document: pycrdt.Doc[Any]) -> dict[int, int]:
    """Per client the clock up to which a document has everything."""
    data = document.get_state()
    count, position = read_var_uint(data, 0)
    found: dict[int, int] = {}
    for _ in range(count):
        client, position = read_var_uint(data, position)
        found[client], position = read_var_uint(data, position)
    return found


def test_a_long_text_becomes_several_structs() -> None:
    document: pycrdt.Doc[Any] = pycrdt.Doc(client_id=7)
    document.get("note:a", type=pycrdt.Text).insert(0, "ab👍" * 1000)
    data = document.get_update()
    assert portions(data, bytes_max=len(data)) == [data]
    parts = portions(data, bytes_max=1000)
    assert [len(part) < 1100 for part in parts] == [True] * 7

"""Whether two updates say the same of the same clocks, however they are cut."""

from __future__ import annotations

from typing import Any

import pycrdt
import pytest

from weft_engine.names import ClientId
from weft_engine.yjs.words import Words

SEVEN = ClientId(7)
PARENT = b"\x01\x01t"


def update(*structs: bytes, first: int = 0) -> Words:
    """Structs of client 7."""
    head = bytes((1, len(structs), 7, first))
    return Words.of(head + b"".join(structs) + b"\x00")


def string(text: str, links: bytes | None = None) -> bytes:
    """Behind an id of one byte each, or in the root."""
    said = text.encode()
    place = b"\x04" + PARENT if links is None else b"\x84" + links
    return place + bytes((len(said),)) + said


def differ(one: Words, other: Words, end: int, first: int = 0) -> bool:
    span = (first, end)
    found = {a.differ(b, SEVEN, [span], lambda *_: False) for a, b in ((one, other), (other, one))}
    assert len(found) == 1, "it does not matter which one comes first"
    return found.pop()


@pytest.mark.parametrize("text", ["words", "gr\u00fc\u00dfe", "a\U0001f600b"])
def test_cuts_are_no_difference(text: str) -> None:
    whole: pycrdt.Doc[Any] = pycrdt.Doc(client_id=7)
    written = whole.get("t", type=pycrdt.Text)
    size = 0
    pieces: list[Words] = []
    for letter in text:
        state = whole.get_state()
        written.insert(len(written), letter)
        pieces.append(Words.of(whole.get_update(state)))
        spans = (size, size := size + len(letter.encode("utf-16-le")) // 2)
        assert not differ(Words.of(whole.get_update()), pieces[-1], spans[1], spans[0])
    other: pycrdt.Doc[Any] = pycrdt.Doc(client_id=7)
    other.get("t", type=pycrdt.Text).insert(0, text[:-1] + "!")
    said = Words.of(other.get_update())
    assert not differ(Words.of(whole.get_update()), said, size - 1)
    assert differ(Words.of(whole.get_update()), said, size)


def test_a_place_is_part_of_what_is_said() -> None:
    assert not differ(update(string("ab"), string("c", b"\x07\x01")), update(string("abc")), 3)
    assert differ(update(string("ab"), string("c", b"\x07\x00")), update(string("abc")), 3)
    assert differ(update(string("a"), string("b")), update(string("ab")), 2)
    deleted = b"\x01" + PARENT + b"\x03"
    assert not differ(update(deleted), update(string("abc")), 3)
    assert differ(update(deleted), update(string("ab"), string("c", b"\x07\x00")), 3)


@pytest.mark.parametrize("was_type", [False, True])
def test_of_what_was_deleted_it_is_told_whether_it_was_a_type(was_type: bool) -> None:
    deleted = update(b"\x01" + PARENT + b"\x01")
    for said, is_other in (
        (deleted, was_type),
        (update(string("a")), was_type),
        (update(b"\x07" + PARENT + b"\x01"), not was_type),
    ):
        assert deleted.differ(said, SEVEN, [(0, 1)], lambda *_: was_type) == is_other


def test_what_is_gone_can_not_be_compared() -> None:
    collected = b"\x00\x01"
    assert differ(update(collected), update(string("a")), 1)
    assert differ(update(collected), update(b"\x01" + PARENT + b"\x01"), 1)
    assert not differ(update(collected), update(collected), 1)
    assert differ(update(string("a")), update(string("ab")), 2), "one of them does not have it"


def test_values_are_compared_one_by_one() -> None:
    two = b"\x08" + PARENT + b"\x02\x7d\x05\x77\x01x"
    five, x, y = b"\x08" + PARENT + b"\x01\x7d\x05", b"\x88\x07\x00\x01\x77\x01x", b"\x77\x01y"
    assert not differ(update(two), update(five, x), 2)
    assert differ(update(two), update(five, x[:4] + y), 2)
    embed = b"\x05" + PARENT
    one, other = b'\x0d{"a":1,"b":2}', b'\x0f{"b":2.0,"a":1}'
    assert not differ(update(embed + one), update(embed + other), 1)
    assert differ(update(embed + b"\x04true"), update(embed + b"\x011"), 1)
    bold = b"\x06" + PARENT + b"\x04bold"
    assert differ(update(bold + b"\x04true"), update(bold + b"\x04null"), 1)
    assert differ(update(bold + b"\x04true"), update(embed + b"\x04true"), 1)

"""The reader of Yjs updates: byte vectors, and updates that pycrdt really makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pycrdt import (
    Array,
    Doc,
    Map,
    Text,
    UndoManager,
    XmlElement,
    XmlFragment,
    XmlText,
    get_state,
    get_update,
    merge_updates,
)

from tests.unit.yjs_bytes import X, any_in_map, in_root, string, update_of
from weft_engine.events.candidate import Candidate, Oddity, OddityKind, candidates, oddities
from weft_engine.limits import CLOCK_END_MAX, INTEGER_MAX, NESTING_DEPTH_MAX
from weft_engine.names import ClientId
from weft_engine.yjs.content import CONTENT_READERS
from weft_engine.yjs.lib0 import read_var_uint, var_uint
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.update import Kind, Struct, Update, first_clocks, ranges, references

ONE = ClientId(1)


def decoded_state(state: bytes) -> dict[int, int]:
    count, position = read_var_uint(state, 0)
    clocks: dict[int, int] = {}
    for _ in range(count):
        client, position = read_var_uint(state, position)
        clocks[client], position = read_var_uint(state, position)
    assert position == len(state)
    return clocks


def ends(update: Update) -> dict[int, int]:
    assert all(len(of_client) == 1 for of_client in ranges(update).values())
    return {client: of_client[-1][1] for client, of_client in ranges(update).items()}


def kinds(update: Update) -> list[Kind]:
    return [struct.kind for struct in update.structs]


# ---- byte vectors ---------------------------------------------------------------------------


def test_first_set_of_a_key() -> None:
    data = bytes.fromhex("010107002801066576656e7473026b310177077b2261223a317d00")
    update = read_update(data)
    seven = ClientId(7)
    assert update == Update(
        structs=(Struct(seven, 0, 1, Kind.ANY, None, None, "events", "k1", (19, 7)),),
        deletes=(),
        depth=0,
    )
    assert data[19:26] == b'{"a":1}'
    assert candidates(update) == (Candidate(seven, 0, "k1", 19, 7),)
    assert oddities(update) == ()


def test_overwrite_of_a_key_has_an_origin_and_is_no_candidate() -> None:
    update = read_update(bytes.fromhex("01010701a807000177077b2261223a327d0107010001"))
    seven = ClientId(7)
    assert update.structs == (Struct(seven, 1, 1, Kind.ANY, (seven, 0), None, None, None, (10, 7)),)
    assert update.deletes == ((seven, 0, 1),)
    assert candidates(update) == ()
    assert oddities(update) == ()
    assert references(update) == {(seven, 0)}
    assert first_clocks(update) == {seven: 1}


def test_two_keys_of_one_transaction() -> None:
    data = bytes.fromhex(
        "010201022801066576656e7473026b32017701782801066576656e7473026b330177017900"
    )
    found = candidates(read_update(data))
    assert [(c.clock, c.key, data[c.offset : c.offset + c.length]) for c in found] == [
        (2, "k2", b"x"),
        (3, "k3", b"y"),
    ]


def test_the_empty_update() -> None:
    assert read_update(b"\x00\x00") == Update(structs=(), deletes=(), depth=0)


def test_yjs_client_edit() -> None:
    update = read_update(bytes.fromhex("010f010101002801016d016b0177017600")[2:])
    assert [(s.parent, s.key) for s in update.structs] == [("m", "k")]


def test_a_gap_is_a_skip() -> None:
    update = read_update(update_of(X, b"\x0a\x05", any_in_map(b"\x77\x01y")))
    assert kinds(update) == [Kind.ANY, Kind.SKIP, Kind.ANY]
    assert ranges(update) == {ONE: ((0, 1), (6, 7))}


def test_only_a_skip_brings_nothing() -> None:
    update = read_update(update_of(b"\x0a\x05"))
    assert ranges(update) == {}
    assert first_clocks(update) == {}


def test_huge_lengths_are_only_numbers() -> None:
    update = read_update(update_of(b"\x00" + var_uint(CLOCK_END_MAX)))
    assert update.structs[0].length == CLOCK_END_MAX
    update = read_update(
        update_of(in_root(1, var_uint(2**31)), deletes=b"\x01\x01\x01\x00" + var_uint(2**31))
    )
    assert update.structs[0].kind is Kind.DELETED
    assert update.deletes == ((ONE, 0, 2**31),)


def test_largest_client_id() -> None:
    update = read_update(update_of(X, client=INTEGER_MAX))
    assert update.structs[0].client == INTEGER_MAX


@pytest.mark.parametrize(
    ("value", "depth"),
    [
        (b"\x7f", 0),
        (b"\x7e", 0),
        (b"\x7d\x40", 0),
        (b"\x7d\xbf\xff\x03", 0),
        (b"\x7c\x00\x00\x00\x00", 0),
        (b"\x7b" + bytes(8), 0),
        (b"\x7a" + bytes(8), 0),
        (b"\x79", 0),
        (b"\x78", 0),
        (b"\x77\x02\xc3\xa9", 0),
        (b"\x76\x00", 1),
        (b"\x76\x02\x01a\x75\x01\x7e\x01b\x7f", 2),
        (b"\x75\x02\x75\x00\x75\x01\x75\x00", 3),
        (b"\x74\x02\xff\xfe", 0),
        (b"\x75\x01" * NESTING_DEPTH_MAX + b"\x7e", NESTING_DEPTH_MAX),
    ],
)
def test_every_any_value(value: bytes, depth: int) -> None:
    update = read_update(update_of(any_in_map(value), X))
    assert update.depth == depth
    assert [struct.length for struct in update.structs] == [1, 1]


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        ("true", 0),
        ('{"a":1}', 1),
        ('[{"a":"]]}[[[["},{"b":"\\"[["}]', 2),
        ("[" * NESTING_DEPTH_MAX + "]" * NESTING_DEPTH_MAX, NESTING_DEPTH_MAX),
        ("[" + "[]," * 500 + "[[]]]", 3),
        ('"\\ud83d\\ude00"', 0),
        ("1" * 300, 0),
    ],
)
def test_embedded_json(text: str, depth: int) -> None:
    data = update_of(in_root(5, string(text)), in_root(6, string("bold") + string(text)))
    update = read_update(data)
    assert kinds(update) == [Kind.EMBED, Kind.FORMAT]
    assert update.depth == depth
    Doc().apply_update(data)


def test_every_content_but_json_is_read() -> None:
    yielded = {kind for kind, _ in CONTENT_READERS.values()} | {Kind.GC, Kind.SKIP}
    assert yielded == set(Kind) - {Kind.JSON}
    assert all(reference == kind.value for reference, (kind, _) in CONTENT_READERS.items())


# ---- oddities -------------------------------------------------------------------------------


def test_what_else_stands_in_events() -> None:
    def in_events(info: int, rest: bytes) -> bytes:
        return bytes([info, 1]) + string("events") + rest

    update = read_update(
        update_of(
            in_events(0x28, b"\x01k\x01\x7d\x01"),
            in_events(0x28, b"\x01l\x02\x77\x01x\x77\x01y"),
            in_events(0x21, b"\x01m\x01"),
            in_events(0x04, b"\x02hi"),
            in_events(0x08, b"\x01\x77\x01x"),
            in_events(0x27, b"\x01n\x01"),
            in_events(0x28, b"\x01o\x01\x77\x01x"),
            in_events(0x24, b"\x01p\x01x"),
            X,
        )
    )
    assert [candidate.key for candidate in candidates(update)] == ["o"]
    assert oddities(update) == (
        Oddity(ONE, 0, "k", OddityKind.NOT_ONE_STRING),
        Oddity(ONE, 1, "l", OddityKind.NOT_ONE_STRING),
        Oddity(ONE, 3, "m", OddityKind.DELETED),
        Oddity(ONE, 4, None, OddityKind.NO_KEY),
        Oddity(ONE, 6, None, OddityKind.NO_KEY),
        Oddity(ONE, 7, "n", OddityKind.NOT_ONE_STRING),
        Oddity(ONE, 9, "p", OddityKind.NOT_ONE_STRING),
    )


# ---- real updates ---------------------------------------------------------------------------


def edit_map(doc: Doc[Any]) -> None:
    root = doc.get("m", type=Map)
    root["text"] = "é😀"
    root["values"] = {"a": [1, 2.5, None, True, {"b": b"\x01\x02"}], "c": 2**60}
    root["text"] = "again"
    del root["values"]


def edit_text(doc: Doc[Any]) -> None:
    text = doc.get("t", type=Text)
    text += "a😀e\u0301👩‍👩‍👧é"
    text.insert(len("a😀".encode()), "x")
    del text[1:5]
    text.insert(0, "𝕏")


def edit_formats(doc: Doc[Any]) -> None:
    text = doc.get("t", type=Text)
    text += "some text"
    text.format(0, 4, {"bold": True, "link": {"href": "https://example.org/?a=[1]"}})
    text.insert_embed(2, {"image": [1, None, {"w": 1.5}]}, {"alt": "x"})
    text.insert(3, "new", {"italic": None})


def edit_array(doc: Doc[Any]) -> None:
    array = doc.get("a", type=Array)
    array.extend([1, "two", [3, [4]], None])
    array.insert(1, "😀")
    del array[0]


def edit_nested(doc: Doc[Any]) -> None:
    root = doc.get("m", type=Map)
    root["map"] = Map({"inner": Map({"array": Array([1, Text("deep"), Map({"x": 1})])})})
    root["text"] = Text("hello")
    text = root["text"]
    text += " world"
    del root["map"]


def edit_xml(doc: Doc[Any]) -> None:
    fragment = doc.get("x", type=XmlFragment)
    fragment.children.append(
        XmlElement("p", {"id": "é"}, [XmlText("hi"), XmlElement("b", {}, [XmlText("in")])])
    )
    fragment.children.insert(0, XmlText("first"))


def edit_subdocument(doc: Doc[Any]) -> None:
    root = doc.get("m", type=Map)
    root["doc"] = Doc()


def edit_and_undo(doc: Doc[Any]) -> None:
    root = doc.get("m", type=Map)
    text = doc.get("t", type=Text)
    undo = UndoManager(scopes=[root, text], capture_timeout_millis=0)
    root["k"] = "one"
    root["k"] = "two"
    text += "typed"
    undo.undo()
    undo.undo()
    undo.redo()


EDITS: list[Callable[[Doc[Any]], None]] = [
    edit_map,
    edit_text,
    edit_formats,
    edit_array,
    edit_nested,
    edit_xml,
    edit_subdocument,
    edit_and_undo,
]


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_clocks_agree_with_pycrdt(edit: Callable[[Doc[Any]], None]) -> None:
    doc: Doc[Any] = Doc(client_id=INTEGER_MAX)
    sent: list[bytes] = []
    subscription = doc.observe(lambda event: sent.append(event.update))
    edit(doc)
    doc.unobserve(subscription)

    update = read_update(doc.get_update())
    assert first_clocks(update) == {INTEGER_MAX: 0}
    assert ends(update) == decoded_state(doc.get_state())
    assert {s.parent for s in update.structs if isinstance(s.parent, str)} == set(doc.keys())

    clock = 0
    for data in sent:
        part = read_update(data)
        if part.structs:
            assert first_clocks(part) == {INTEGER_MAX: clock}
            clock = ends(part)[INTEGER_MAX]
    assert clock == ends(update)[INTEGER_MAX]


def test_text_stands_where_the_span_says() -> None:
    doc: Doc[Any] = Doc(client_id=1)
    doc.get("t", type=Text).insert(0, "é😀")
    data = doc.get_update()
    (struct,) = read_update(data).structs
    assert (struct.kind, struct.length, struct.parent) == (Kind.STRING, 3, "t")
    assert struct.content is not None
    offset, size = struct.content
    assert data[offset : offset + size] == "é😀".encode()


def test_nested_types_have_a_depth() -> None:
    doc: Doc[Any] = Doc(client_id=1)
    doc.get("m", type=Map)["k"] = Map({"a": Map({"b": Array([Text("x")])})})
    update = read_update(doc.get_update())
    assert update.depth == 4
    assert (ONE, 0) in references(update)


def test_merged_updates_of_many_clients() -> None:
    parts: list[bytes] = []
    docs: list[Doc[Any]] = [Doc(client_id=client) for client in (5, 6, 7)]
    for number, doc in enumerate(docs):
        for known in parts:
            doc.apply_update(known)
        before = doc.get_state()
        doc.get("t", type=Text).insert(0, f"from {number} é")
        doc.get("m", type=Map)[f"k{number}"] = number
        parts.append(doc.get_update(before))
    merged = read_update(merge_updates(*parts))
    last = docs[-1]
    assert ends(merged) == decoded_state(last.get_state())
    assert ends(read_update(last.get_update())) == ends(merged)
    assert decoded_state(get_state(get_update(last.get_update(), b"\x00"))) == ends(merged)


def test_merging_around_a_hole_makes_a_skip() -> None:
    doc: Doc[Any] = Doc(client_id=1)
    root = doc.get("m", type=Map)
    parts: list[bytes] = []
    for key in "abc":
        before = doc.get_state()
        root[key] = key
        parts.append(doc.get_update(before))
    merged = read_update(merge_updates(parts[0], parts[2]))
    assert Kind.SKIP in kinds(merged)
    assert ranges(merged) == {ONE: ((0, 1), (2, 3))}

"""Laws of the Yjs reader and encoder, with pycrdt as the oracle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Array, Doc, Map, Snapshot, Text, XmlElement, XmlFragment, XmlText, merge_updates

from weft_engine.errors import MalformedUpdate
from weft_engine.events.candidate import Candidate, candidates, oddities
from weft_engine.limits import INTEGER_MAX
from weft_engine.names import ClientId, EventId
from weft_engine.yjs.encoder import encode_event_append
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.update import Kind, Update, first_clocks, ranges, references

# Letters of one to four bytes of UTF-8, a combining mark and a joiner; no lone surrogates.
WORDS = st.text(alphabet='ab[{"\\é\u0301\u200d☃😀𝕏', min_size=1, max_size=6)
CLIENTS = st.sampled_from([1, 2, 300, 2**31, INTEGER_MAX])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | WORDS | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)


@dataclass(frozen=True)
class Edit:
    what: str
    place: int
    word: str
    value: object


EDITS = st.builds(
    Edit,
    what=st.sampled_from(
        [
            "set",
            "set_type",
            "unset",
            "insert",
            "cut",
            "format",
            "embed",
            "push",
            "insert_items",
            "drop",
            "xml",
            "subdocument",
        ]
    ),
    place=st.integers(0, 50),
    word=WORDS,
    value=VALUES,
)
HISTORIES = st.lists(st.tuples(st.integers(0, 2), EDITS, st.booleans()), min_size=1, max_size=16)


def apply_edit(doc: Doc[Any], edit: Edit) -> None:
    root = doc.get("map", type=Map)
    text = doc.get("text", type=Text)
    rich = doc.get("rich", type=Text)
    array = doc.get("array", type=Array)
    key = f"k{edit.place % 3}"
    # Indexes of a pycrdt text count bytes, and an embed as one: `text` has none, so this index is
    # between two characters.
    content = str(text)
    cut = len(content[: edit.place % (len(content) + 1)].encode())
    match edit.what:
        case "set":
            root[key] = edit.value
        case "set_type":
            root[key] = Map({"inner": Array([edit.value, Text(edit.word)])})
        case "unset":
            if key in root.keys():  # noqa: SIM118
                del root[key]
        case "insert":
            text.insert(cut, edit.word)
        case "cut":
            del text[cut:]
        case "format":
            rich.insert(0, edit.word)
            rich.format(0, len(edit.word.encode()), {edit.word: edit.place % 2 == 0})
        case "embed":
            rich.insert_embed(0, {"name": edit.word})
        case "push":
            array.append(edit.value)
        case "insert_items":
            array.insert(edit.place % (len(array) + 1), edit.value)
        case "drop":
            if len(array):
                del array[edit.place % len(array)]
        case "xml":
            children = doc.get("xml", type=XmlFragment).children
            children.append(XmlElement(edit.word, {"id": edit.word}, [XmlText(edit.word)]))
        case "subdocument":
            root[key] = Doc()


def number(data: bytes, position: int) -> tuple[int, int]:
    """A varUint, written down once more so that the reader is not checked against itself."""
    low = data[position] % 128
    if data[position] < 128:
        return low, position + 1
    high, position = number(data, position + 1)
    return low + 128 * high, position


def decoded_state(state: bytes) -> dict[int, int]:
    count, position = number(state, 0)
    clocks: dict[int, int] = {}
    for _ in range(count):
        client, position = number(state, position)
        clocks[client], position = number(state, position)
    return clocks


def decoded_deletes(snapshot: bytes) -> set[tuple[int, int]]:
    """Every deleted (client, clock) of a snapshot, which begins with its delete set."""
    clients, position = number(snapshot, 0)
    found: set[tuple[int, int]] = set()
    for _ in range(clients):
        client, position = number(snapshot, position)
        count, position = number(snapshot, position)
        for _ in range(count):
            clock, position = number(snapshot, position)
            length, position = number(snapshot, position)
            found |= {(client, at) for at in range(clock, clock + length)}
    return found


def ends(update: Update) -> dict[int, int]:
    return {client: of_client[-1][1] for client, of_client in ranges(update).items()}


def known(clocks: dict[int, int], points: frozenset[tuple[ClientId, int]]) -> bool:
    return all(clock < clocks.get(client, 0) for client, clock in points)


def played(
    history: list[tuple[int, Edit, bool]], clients: list[int]
) -> tuple[list[Doc[Any]], list[bytes]]:
    """The documents after `history`, and the updates that were sent, in causal order."""
    docs: list[Doc[Any]] = [Doc(client_id=client) for client in clients]
    sent: list[bytes] = []
    for writer, edit, exchange in history:
        before = docs[writer].get_state()
        with docs[writer].transaction():
            apply_edit(docs[writer], edit)
        sent.append(docs[writer].get_update(before))
        if exchange:
            for doc in docs:
                for data in sent:
                    doc.apply_update(data)
    for doc in docs:
        for data in sent:
            doc.apply_update(data)
    return docs, sent


@settings(max_examples=400, deadline=None)
@given(HISTORIES, st.lists(CLIENTS, min_size=3, max_size=3, unique=True))
def test_reader_agrees_with_pycrdt(
    history: list[tuple[int, Edit, bool]], clients: list[int]
) -> None:
    docs, sent = played(history, clients)
    doc = docs[0]
    state = decoded_state(doc.get_state())

    whole = read_update(doc.get_update())
    assert ends(whole) == state
    assert all(first == 0 for first in first_clocks(whole).values())
    assert known(state, references(whole))
    assert {
        (client, at)
        for client, clock, length in whole.deletes
        for at in range(clock, clock + length)
    } == decoded_deletes(Snapshot.from_doc(doc).encode())
    names = {struct.parent for struct in whole.structs if isinstance(struct.parent, str)}
    assert names <= set(doc.keys())

    merged = read_update(merge_updates(*sent))
    assert ends(merged) == state
    seen: dict[int, int] = {}
    for data in sent:
        part = read_update(data)
        for client, first in first_clocks(part).items():
            assert first == seen.get(client, 0)
        seen |= ends(part)
        assert known(seen, references(part))
    assert seen == state


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), WORDS), min_size=1, max_size=12))
def test_strings_of_a_text_are_where_the_spans_say(edits: list[tuple[int, str]]) -> None:
    doc: Doc[Any] = Doc(client_id=1)
    text = doc.get("text", type=Text)
    for place, word in edits:
        content = str(text)
        text.insert(len(content[: place % (len(content) + 1)].encode()), word)
    data = doc.get_update()
    update = read_update(data)
    pieces: list[str] = []
    for struct in update.structs:
        assert struct.kind is Kind.STRING
        assert struct.content is not None
        offset, size = struct.content
        piece = data[offset : offset + size].decode()
        assert struct.length == len(piece.encode("utf-16-le")) // 2
        pieces.append(piece)
    assert sorted("".join(pieces)) == sorted(str(text))


ENTRIES = st.lists(
    st.tuples(
        st.from_regex(r"[0-9a-f]{16}-[0-9a-f]{32}", fullmatch=True).map(EventId),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda entry: entry[0],
)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, INTEGER_MAX), ENTRIES, ENTRIES)
def test_encoder_writes_the_bytes_of_pycrdt(
    client: int, earlier: list[tuple[EventId, str]], later: list[tuple[EventId, str]]
) -> None:
    taken = dict(earlier)
    later = [entry for entry in later if entry[0] not in taken]
    writer: Doc[Any] = Doc(client_id=client)
    reader: Doc[Any] = Doc()
    clock = 0
    for entries in (earlier, later):
        if not entries:
            continue
        before = writer.get_state()
        with writer.transaction():
            events = writer.get("events", type=Map)
            for key, text in entries:
                events[key] = text
        append = encode_event_append(
            ClientId(client), clock, [(key, text.encode()) for key, text in entries]
        )
        assert append.payload == writer.get_update(before)
        update = read_update(append.payload)
        assert candidates(update) == tuple(
            Candidate(ClientId(client), clock + number, key, offset, len(text.encode()))
            for number, ((key, text), offset) in enumerate(
                zip(entries, append.offsets, strict=True)
            )
        )
        assert oddities(update) == ()
        reader.apply_update(append.payload)
        clock += len(entries)
    assert reader.get("events", type=Map).to_py() == taken | dict(later)


def parses_or_is_refused(data: bytes) -> None:
    try:
        update = read_update(data)
    except MalformedUpdate:
        return
    assert len(update.structs) + len(update.deletes) <= len(data)
    candidates(update)
    oddities(update)
    references(update)


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_parse_or_are_refused(data: bytes) -> None:
    parses_or_is_refused(data)
    parses_or_is_refused(b"\x01\x01\x01\x00" + data)


@settings(max_examples=150, deadline=None)
@given(
    HISTORIES,
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=20),
)
def test_mutated_and_cut_updates_parse_or_are_refused(
    history: list[tuple[int, Edit, bool]], mutations: list[tuple[int, int]]
) -> None:
    docs, _ = played(history, [1, 2, 300])
    whole = docs[0].get_update()
    changes: list[Callable[[int, int], bytes]] = [
        lambda at, byte: whole[:at] + bytes([byte]) + whole[at + 1 :],
        lambda at, byte: whole[:at] + bytes([byte]) + whole[at:],
        lambda at, byte: whole[:at] + whole[at + 1 + byte % 4 :],
    ]
    for place, byte in mutations:
        for change in changes:
            parses_or_is_refused(change(place % len(whole), byte))


@settings(max_examples=150, deadline=None)
@given(HISTORIES)
def test_no_beginning_of_an_update_is_an_update(history: list[tuple[int, Edit, bool]]) -> None:
    docs, _ = played(history, [1, 2, 300])
    whole = docs[0].get_update()
    for size in range(len(whole)):
        try:
            read_update(whole[:size])
        except MalformedUpdate:
            continue
        raise AssertionError(f"the first {size} bytes of {whole.hex()} were read")

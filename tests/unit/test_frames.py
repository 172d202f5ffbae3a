"""Frames: the bytes that docs/PROTOCOL.md promises, and the refusal of everything else."""

from __future__ import annotations

import re
from pathlib import Path

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft_engine.errors import InvalidName, LimitExceeded, MalformedFrame
from weft_engine.limits import FRAME_BYTES_MAX, INTEREST_CONTEXTS_MAX, INTEREST_PREFIXES_MAX
from weft_engine.names import ContextName, Position, RecordHash
from weft_engine.records.certificate import Certificate
from weft_engine.records.identity import SignatureItem
from weft_engine.sync.framing.fragments import FRAGMENT_BYTES, FRAGMENTS_MAX, Reassembly, cut
from weft_engine.sync.framing.frames import decode_frame, decode_message, encode
from weft_engine.sync.framing.messages import (
    Ack,
    Branches,
    Bye,
    ByeCode,
    Check,
    Clock,
    Compared,
    Contexts,
    Cursor,
    Erased,
    Fragment,
    Frontier,
    Frontiers,
    Heartbeat,
    Hello,
    Issue,
    Kept,
    Live,
    Message,
    PresenceState,
    PresenceTold,
    Reach,
    Records,
    Resume,
    Resumed,
    Sample,
    Subscribe,
    Ticket,
    Tips,
    Tree,
    Want,
    Window,
    Zoom,
    Zooms,
    bye,
)
from weft_engine.sync.interest import EVERYTHING, NOTHING, Interest

PROTOCOL = Path(__file__).parents[2] / "docs" / "PROTOCOL.md"

A = RecordHash(b"\xaa" * 32)
B = RecordHash(b"\xbb" * 32)

EXAMPLES: dict[str, Message] = {
    "hello of a client": Hello(
        1,
        bytes(range(16)),
        b"\x01" * 8,
        None,
        1_700_000_000_000,
        Interest.of(contexts=["acme/plan"], prefixes=["team/"]),
        Window(64, 8_388_608),
    ),
    "hello of a relay": Hello(
        1, bytes(16), bytes(8), "eu-1", 1_700_000_000_000, EVERYTHING, Window(64, 8_388_608)
    ),
    "bye": Bye("denied", "the token has expired", "get a new one"),
    "contexts": Contexts(((ContextName("acme/plan"), b"\x0f" * 32),), False),
    "no contexts": Contexts((), True),
    "frontier": Frontier(ContextName("acme/plan"), (A, B), (B,)),
    "records": Records(
        1, Position(300), ((b"envelope", b"payload"),), (SignatureItem(A, B, b"\xcc" * 64),)
    ),
    "records, no statement": Records(2, None, ((b"envelope", b""),), ()),
    "records, certified": Records(
        3,
        None,
        ((b"envelope", b""),),
        (SignatureItem(A, B, b"\xcc" * 64, Certificate(b"\xdd" * 32, b"\xee" * 64)),),
    ),
    "records, an eraser": Records(
        3,
        None,
        ((b"envelope", b"stand-in"),),
        (),
        ((b"eraser", b"erasure", SignatureItem(A, B, b"\xcc" * 64)),),
    ),
    "ack": Ack(1, 4, (("eu-1", Position(300)),)),
    "ack of a client": Ack(2, 2, ()),
    "want": Want((A,)),
    "heartbeat": Heartbeat(),
    "fragment": Fragment(7, 0, 2, b"\x01\x94"),
    "ticket": Ticket(bytes(range(16))),
    "no ticket": Ticket(None),
    "issue": Issue(b"\x0f" * 16),
    "issue, an old one was shown": Issue(None),
    "kept": Kept(),
    "erased": Erased(((A, (b"\x01" * 16, b"\x02" * 16)),)),
    "resume": Resume(Cursor(Position(300), b"\x0a" * 8)),
    "resume, with nothing": Resume(None),
    "resumed": Resumed(True),
    "cursor": Cursor(Position(300), b"\x0a" * 8),
    "subscribe": Subscribe(1, Interest.of(contexts=["acme/plan"], prefixes=["team/"])),
    "presence": PresenceTold(
        ContextName("acme/plan"),
        (PresenceState(7, 1, '{"at":3}'), PresenceState(9, 4, None)),
    ),
    "tree": Tree(1_000_000, bytes(range(8)), b"\x0f" * 8),
    "branches": Branches(
        ((0x13F, 4, b"\x01" * 80),), ((0x13FA, b"\x02" * 10),), ((2, b"\x03" * 5),), True
    ),
    "compared": Compared(2),
    "tips": Tips(4, Position(300), (A, B)),
    "live": Live(("ap-1", "us-1")),
    "reach": Reach((("ap-1", Position(300)), ("us-1", Position(0)))),
    "zoom": Zoom(ContextName("acme/plan"), 1, b"\x01", True),
    "sample": Sample(ContextName("acme/plan"), (B, A), (A,)),
    "check": Check(((ContextName("acme/plan"), b"\x0f" * 32, b"\x0a" * 32),)),
    "clock, a question": Clock(1_234_567_890, None),
    "clock": Clock(1_234_567_890, 1_700_000_000_000),
    "frontiers": Frontiers(
        (
            Frontier(ContextName("acme/plan"), (A, B), ()),
            Frontier(ContextName("team/x"), (B,), ()),
        )
    ),
    "zooms": Zooms(
        (
            Zoom(ContextName("acme/plan"), 1, b"\x01", True),
            Zoom(ContextName("team/x"), 2, b"", False),
        )
    ),
}


def section(title: str) -> list[tuple[str, str]]:
    """Name and hex of each vector under a heading of the protocol's document."""
    text = PROTOCOL.read_text().split(f"### {title}\n")[1].split("\n#")[0]
    return re.findall(r"^    (\S.*?)  +([0-9a-f]+)$", text, re.MULTILINE)


def test_the_document_has_a_vector_for_each_example() -> None:
    assert [name for name, _ in section("Frames")] == list(EXAMPLES)
    assert {type(message) for message in EXAMPLES.values()} == set(Message.__args__)


@pytest.mark.parametrize(("name", "vector"), section("Frames"))
def test_vectors_of_the_document(name: str, vector: str) -> None:
    assert encode(EXAMPLES[name]).hex() == vector
    assert decode_frame(bytes.fromhex(vector)) == EXAMPLES[name]


REFUSED = section("Refused frames")


def test_the_document_shows_refused_frames() -> None:
    assert len(REFUSED) >= 8


@pytest.mark.parametrize(("name", "vector"), REFUSED)
def test_refused_vectors_of_the_document(name: str, vector: str) -> None:
    with pytest.raises(MalformedFrame, match=re.escape(name)):
        decode_frame(bytes.fromhex(vector))


def frame(*fields: object) -> bytes:
    packed: bytes = msgpack.packb(fields)
    return b"\x01" + packed


HELLO: tuple[object, ...] = (0, 1, bytes(16), bytes(8), None, 0, [], [""], [1, 1])


def hello(**changed: object) -> bytes:
    names = ("type", "version", "store", "epoch", "region", "now", "contexts", "prefixes", "window")
    return frame(*(changed.get(name, value) for name, value in zip(names, HELLO, strict=True)))


BAD = {
    "a frame is empty": b"",
    "version 0": b"\x00\x91\x07",
    "version 2": b"\x02\x91\x07",
    "a frame is no array": b"\x01\x07",
    "may have 1 to": b"\x01\x90",
    "type is no unsigned integer": b"\x01\x91\xff",
    "unknown type 30": frame(30),
    "frontiers has 0 items": frame(28, []),
    "frontiers has 65 items": frame(28, [["a", [A]]] * 65),
    "zooms has 0 items": frame(29, []),
    "one of zooms has 3 items": frame(29, [["a", 1, b"\x01"]]),
    "unknown type 63": frame(63),
    "unknown type 128": frame(128),
    "a heartbeat has 1 fields": frame(7, 0),
    "ticket has 15 bytes": frame(9, bytes(15)),
    "ticket has 17 bytes": frame(10, bytes(17)),
    "ticket is no byte string": frame(10, "x" * 16),
    "a kept has 1 fields": frame(11, 0),
    "bytes follow a heartbeat": frame(7) + b"\x00",
    "a frame's type is not in its shortest form": b"\x01\x91\xcc\x07",
    "a frame is not in its shortest form": b"\x01\xdc\x00\x01\x07",
    "promises 60000 items": b"\x01\xdc\xea\x60\x07",
    "store has 15 bytes": hello(store=bytes(15)),
    "store has 17 bytes": hello(store=bytes(17)),
    "epoch is no byte string": hello(epoch="x" * 8),
    "region has no valid name": hello(region="EU"),
    "region is no string": hello(region=1),
    "now_ms is": hello(now=1 << 48),
    "contexts is no array": hello(contexts=None),
    "twice or out of order": hello(contexts=["b", "a"], prefixes=[]),
    "names something twice": hello(contexts=["a"]),
    "prefixes has 65 items": hello(prefixes=[f"{i:02}/" for i in range(65)]),
    "interest is none": hello(contexts=["a//b"], prefixes=[]),
    "one of prefixes has 257 bytes": hello(prefixes=["x" * 257]),
    "window has 1 items": hello(window=[1]),
    "window frames is 0": hello(window=[0, 1]),
    "window bytes is 0": hello(window=[1, 0]),
    "the code ''": frame(1, "", "", ""),
    "the code 'No'": frame(1, "No", "", ""),
    "reason has 1025 bytes": frame(1, "closed", "x" * 1025, ""),
    "reason is no UTF-8": b"\x01\x94\x01\xa1a\xa1\xff\xa0",
    "contexts has 513 items": frame(2, [["a", bytes(32)]] * 513, True),
    "an entry has 1 items": frame(2, [["a" * 40]], True),
    "fingerprint has 31 bytes": frame(2, [["abcd", bytes(31)]], True),
    "context has no valid name": frame(2, [["", bytes(40)]], True),
    "last is neither": frame(2, [], 1),
    "frontier has 0 items": frame(3, "a", [], []),
    "frontier do not ascend": frame(3, "a", [B, A], []),
    "frontier are not hashes": frame(3, "a", ["x" * 32], []),
    "sample repeat": frame(3, "a", [A], [B, B]),
    "sample has 65 items": frame(3, "a", [A], [bytes([i]) * 32 for i in range(65)]),
    "serial is 0": frame(4, 0, None, [[b"", b""]], [], []),
    "position is 9223372036854775808": frame(4, 1, 1 << 63, [[b"", b""]], [], []),
    "records has 0 items": frame(4, 1, None, [], [], []),
    "records has 8193 items": frame(4, 1, None, [[b"", b""]] * 8193, [], []),
    "envelope has 35329 bytes": frame(4, 1, None, [[bytes(35329), b""]], [], []),
    "a record has 3 items": frame(4, 1, None, [[b"", b"", b""]], [], []),
    "payload is no byte string": frame(4, 1, None, [[b"a", "text"]], [], []),
    "envelope is no byte string": frame(4, 1, None, [["text", b"a"]], [], []),
    "items has 2 items": frame(4, 1, None, [[b"", b""]], [[A, B, bytes(64)]] * 2, []),
    "signature has 63 bytes": frame(4, 1, None, [[b"", b""]], [[A, B, bytes(63)]], []) + b"\x00",
    "an item has 2 items": frame(4, 1, None, [[b"", b""]], [[A, bytes(99)]], []),
    "an eraser has 2 items": frame(4, 1, None, [[b"", b""]], [], [[b"e", b"p" * 140]]),
    "eraser's item has 2 items": frame(
        4, 1, None, [[b"", b""]], [], [[b"e", b"p", [A, bytes(110)]]]
    ),
    "erasers has 8193 items": frame(4, 1, None, [[b"", b""]], [], [[b"", b"", []]] * 8193),
    "erasers has 0 items": frame(12, []),
    "store has 15 bytes, the": frame(12, [[A, [bytes(15), bytes(30)]]]),
    "the erasers do not ascend": frame(12, [[A, [bytes(16)]], [A, [bytes(16)]]]),
    "an item has 4 items": frame(4, 1, None, [[b"", b""]], [[A, B, bytes(64), A]], []),
    "an item has 6 items": frame(
        4, 1, None, [[b"", b""]], [[A, B, bytes(64), A, bytes(64), 0]], []
    ),
    "region key has 31 bytes": frame(
        4, 1, None, [[b"", b""]], [[A, B, bytes(64), bytes(31), bytes(64)]], []
    ),
    "region signature has 65 bytes": frame(
        4, 1, None, [[b"", b""]], [[A, B, bytes(64), A, bytes(65)]], []
    ),
    "regions has 65 items": frame(5, 1, 1, [["a", 1]] * 65),
    "a region's position has 1 items": frame(5, 1, 1, [["abcd"]]),
    "position is no unsigned": frame(5, 1, 1, [["abc", -1]]),
    "an ack of 2 to 1": frame(5, 2, 1, []),
    "row has 7 bytes": frame(13, [1, bytes(7)]),
    "a cursor has 1 items": frame(13, [1]),
    "resumed is neither": frame(14, 1),
    "row has 9 bytes": frame(15, 1, bytes(9)),
    "round is 0": frame(16, 0, [], []),
    "a subscribe's interest names": frame(16, 1, ["b", "a"], []),
    "states has 0 items": frame(17, "a", []),
    "states has 16 items": frame(17, "a", [[i, 1, "{}"] for i in range(16)]),
    "a state has 2 items": frame(17, "a", [[1, 1]]) + bytes(8),
    "state has 16385 bytes": frame(17, "a", [[1, 1, "x" * 16_385]]),
    "presence do not ascend": frame(17, "a", [[2, 1, None], [1, 1, None]]),
    "salt has 7 bytes": frame(18, 1, bytes(7), bytes(8)),
    "digest has 9 bytes": frame(18, 1, bytes(8), bytes(9)),
    "path is 0": frame(19, [], [[0, bytes(5)]], [], False),
    "path is 2305843009213693952": frame(19, [], [[1 << 61, bytes(5)]], [], False),
    "levels is 13": frame(19, [[1, 13, bytes(5 << 13)]], [], [], False),
    "opened below 60 bits": frame(19, [[1 << 57, 4, bytes(80)]], [], [], False),
    "digests has 79 bytes": frame(19, [[1, 4, bytes(79)]], [], [], False),
    "digests of 5 bytes take 6": frame(19, [], [[1, bytes(6)]], [], False),
    "16385 nodes and digests": frame(
        19, [[2 + i, 12, bytes(5 << 12)] for i in range(3)], [[1, bytes(5 * 4096)]], [], False
    ),
    "more is neither true nor false": frame(19, [], [], [], 1),
    "tips has 0 items": frame(21, 1, None, []),
    "tips do not ascend": frame(21, 1, None, [B, A]),
    "the regions do not ascend": frame(22, ["b", "a"]),
    "regions has 66 items": frame(23, [["a", 1]] * 66),
    "round is 0, it may": frame(24, "a", 0, b"", True),
    "held has 4097 bytes": frame(24, "a", 1, bytes(4097), True),
    "ends has 1025 items": frame(25, "a", [i.to_bytes(32, "big") for i in range(1025)], []),
    "ends repeat": frame(25, "a", [A, A], []),
    "floor do not ascend": frame(25, "a", [], [B, A]),
    "entries has 0 items": frame(26, []),
    "digest has 31 bytes": frame(26, [["abcd", bytes(32), bytes(31)]]),
    "hashes has 0 items": frame(6, []),
    "hashes do not ascend": frame(6, [A, A]),
    "hashes has 1025 items": frame(6, [i.to_bytes(32, "big") for i in range(1025)]),
    "fragment has 0 bytes": frame(8, 1, 0, 2, b""),
    "inside fragment": frame(8, 1, 0, 2, b"abc")[:-1],
    "exceeds 262144": b"\x01" + bytes(FRAME_BYTES_MAX),
}


@pytest.mark.parametrize("complaint", BAD)
def test_refused_frames_say_what_is_wrong(complaint: str) -> None:
    with pytest.raises(MalformedFrame, match=re.escape(complaint)):
        decode_frame(BAD[complaint])


def test_nested_counts_allocate_nothing() -> None:
    # Each level promises 65,536 items; a general reader makes room for all of them.
    bomb = b"\x01\xdc\x00\x10\x04" + b"\xdd\x00\x01\x00\x00" * 1000 + bytes(65_536)
    with pytest.raises(MalformedFrame):
        decode_frame(bomb)


@pytest.mark.parametrize("type_", [64, 100, 127])
def test_reserved_types_are_ignored_whatever_they_hold(type_: int) -> None:
    assert decode_frame(frame(type_)) is None
    assert decode_frame(frame(type_, {"later": [1, 2]}, "x")) is None


@given(st.binary(max_size=300))
@settings(max_examples=400, deadline=None)
def test_random_bytes_are_refused_or_read_exactly(data: bytes) -> None:
    check(data)
    check(b"\x01" + data)


@given(
    name=st.sampled_from(sorted(EXAMPLES)),
    at=st.integers(0, 400),
    removed=st.integers(0, 3),
    put=st.binary(max_size=4),
)
@settings(max_examples=600, deadline=None)
def test_altered_frames_are_refused_or_read_exactly(
    name: str, at: int, removed: int, put: bytes
) -> None:
    data = encode(EXAMPLES[name])
    at %= len(data)
    check(data[:at] + put + data[at + removed :])


def check(data: bytes) -> None:
    try:
        message = decode_frame(data)
    except MalformedFrame:
        return
    # What is taken has one encoding.
    if message is not None:
        assert encode(message) == data


# ---- fragments ------------------------------------------------------------------------------


def large(size: int) -> Records:
    return Records(1, None, ((b"envelope", b"\x05" * size),), ())


@pytest.mark.parametrize("size", [10, FRAME_BYTES_MAX, 3 * FRAGMENT_BYTES - 20, 2_600_000])
def test_messages_come_out_of_their_fragments(size: int) -> None:
    message = large(size)
    frames = list(cut(encode(message), id_=3))
    assert all(len(one) <= FRAME_BYTES_MAX for one in frames)
    reassembly = Reassembly()
    found = None
    for one in frames:
        assert found is None
        part = decode_frame(one)
        if isinstance(part, Fragment):
            whole = reassembly.add(part)
            found = None if whole is None else decode_message(whole)
        else:
            found = part
    assert found == message
    assert (len(frames) == 1) == (size == 10)


FULL = b"\x00" * FRAGMENT_BYTES


@pytest.mark.parametrize(
    ("fragments", "complaint"),
    [
        ([Fragment(1, 1, 2, FULL)], "begins with fragment 1"),
        ([Fragment(1, 0, 1, b"x")], "of 1 fragments"),
        ([Fragment(1, 0, FRAGMENTS_MAX + 1, FULL)], "fragments; it may have 2 to"),
        ([Fragment(1, 0, 2, b"x")], "all but the last"),
        ([Fragment(1, 0, 3, FULL), Fragment(1, 2, 3, b"x")], "where fragment 1 of 3"),
        ([Fragment(1, 0, 3, FULL), Fragment(2, 0, 3, FULL)], "where fragment 1 of 3 of message 1"),
        ([Fragment(1, 0, 3, FULL), Fragment(1, 1, 2, b"x")], "where fragment 1 of 3"),
    ],
)
def test_refused_fragments(fragments: list[Fragment], complaint: str) -> None:
    reassembly = Reassembly()
    for fragment in fragments[:-1]:
        assert reassembly.add(fragment) is None
    with pytest.raises(MalformedFrame, match=re.escape(complaint)):
        reassembly.add(fragments[-1])


def test_a_message_ends_at_its_limit() -> None:
    reassembly = Reassembly()
    for index in range(FRAGMENTS_MAX - 1):
        assert reassembly.add(Fragment(1, index, FRAGMENTS_MAX, FULL)) is None
    with pytest.raises(MalformedFrame, match="exceeds"):
        reassembly.add(Fragment(1, FRAGMENTS_MAX - 1, FRAGMENTS_MAX, FULL))


def test_a_goodbye_fits_whatever_it_says() -> None:
    said = bye(ByeCode.FAULT, "ü" * 5000, "x" * 5000)
    assert decode_frame(encode(said)) == said


# ---- interests ------------------------------------------------------------------------------

NAMES = st.lists(st.sampled_from(["a", "a/b", "a/bc", "b", "b/c/d", "ü/x"]), max_size=4)
PREFIXES = st.lists(st.sampled_from(["", "a", "a/", "a/b", "b/", "ü"]), max_size=3)
INTERESTS = st.builds(lambda c, p: Interest.of(contexts=c, prefixes=p), NAMES, PREFIXES)


@given(INTERESTS, INTERESTS, st.sampled_from(["a", "a/b", "a/bc", "a/z", "b", "b/c/d", "ü/x"]))
def test_an_intersection_covers_what_both_cover(a: Interest, b: Interest, name: str) -> None:
    both = a.intersection(b)
    assert both.covers(name) == (a.covers(name) and b.covers(name))
    assert both == b.intersection(a)
    assert a.intersection(EVERYTHING) == a
    assert a.intersection(NOTHING).is_empty


@pytest.mark.parametrize("prefix", ["/", "a//", "//a", "a\n", "x" * 300])
def test_refused_prefixes(prefix: str) -> None:
    with pytest.raises(InvalidName):
        Interest.of(prefixes=[prefix])


@pytest.mark.parametrize(
    ("contexts", "prefixes"),
    [
        ([f"c{i}" for i in range(INTEREST_CONTEXTS_MAX + 1)], []),
        ([], [f"{i:03}/" for i in range(INTEREST_PREFIXES_MAX + 1)]),
        ([f"{i:03}" + "x" * 250 for i in range(800)], []),
    ],
)
def test_interests_are_limited(contexts: list[str], prefixes: list[str]) -> None:
    with pytest.raises(LimitExceeded):
        Interest.of(contexts=contexts, prefixes=prefixes)


def test_the_largest_hello_fits_a_frame() -> None:
    names = [f"{i:04}" + "x" * 180 for i in range(1024)]
    largest = Hello(
        1, bytes(16), bytes(8), "x" * 64, 0, Interest.of(contexts=names), Window(4096, 80 << 20)
    )
    assert decode_frame(encode(largest)) == largest

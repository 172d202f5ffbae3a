"""The door: what is refused before it reaches the journal, from its bytes alone."""

from __future__ import annotations

import subprocess
import sys

import pycrdt
import pytest

from tests.unit.yjs_bytes import in_root, string, update_of
from weft_engine.document.assembly import MISPLACED, PANICKED, WAITS, Assembly
from weft_engine.document.document import Document, is_panic
from weft_engine.document.door import is_plain, let_in
from weft_engine.errors import MalformedRecord, MalformedUpdate
from weft_engine.limits import (
    NATIVE_WOVEN_STRUCTS_MAX,
    NESTING_DEPTH_MAX,
    SETS_PER_KEY_MAX,
    STRUCTS_PER_PAYLOAD_MAX,
    WOVEN_STRUCTS_MAX,
)
from weft_engine.names import ClientId, ContextName, EventId, Hlc, NoteName, RecordHash
from weft_engine.records.digest import payload_digest
from weft_engine.records.envelope import Envelope, Kind, Record, seal
from weft_engine.records.identity import WriterKey, client_id
from weft_engine.yjs.encoder import encode_event_append
from weft_engine.yjs.lib0 import var_uint
from weft_engine.yjs.reader import read_update

KEY = WriterKey(b"\x05" * 32)
CONTEXT = ContextName("c")
LETTER = in_root(4, string("a"), root="note:n")


def record_of(
    payload: bytes, *, kind: Kind = Kind.FOREIGN, seq: int = 1, prev: RecordHash | None = None
) -> Record:
    envelope = Envelope(
        CONTEXT, KEY.incarnation, seq, prev, (), Hlc(seq << 16), kind, payload_digest(payload)
    )
    return seal(envelope, payload)


def chain_of(*payloads: bytes) -> list[Record]:
    records: list[Record] = []
    for seq, payload in enumerate(payloads, 1):
        prev = records[-1].hash if records else None
        records.append(record_of(payload, seq=seq, prev=prev))
    return records


def pass_door(record: Record) -> Record:
    return let_in(record.envelope_bytes, record.payload)


def assembled(records: list[Record]) -> Assembly[Document]:
    assembly = Assembly(lambda: Document(ClientId(99)), is_panic)
    if not assembly.take(records):
        assembly.take_all(records)
    return assembly


# ---- what the reader refuses ----------------------------------------------------------------


def test_structs_made_to_stand_in_each_others_way_are_refused_by_their_number() -> None:
    letters = [in_root(4, string("a"))] * WOVEN_STRUCTS_MAX
    assert read_update(update_of(*letters)).woven == WOVEN_STRUCTS_MAX
    with pytest.raises(MalformedUpdate, match="interwoven"):
        read_update(update_of(*letters, letters[0]))


def test_a_native_payload_may_weave_less() -> None:
    own = client_id(KEY.incarnation, CONTEXT)
    payload = update_of(*[LETTER] * NATIVE_WOVEN_STRUCTS_MAX, client=own)
    assert pass_door(record_of(payload, kind=Kind.NATIVE)).payload == payload
    payload = update_of(*[LETTER] * (NATIVE_WOVEN_STRUCTS_MAX + 1), client=own)
    with pytest.raises(MalformedRecord, match="interwoven"):
        pass_door(record_of(payload, kind=Kind.NATIVE))


def test_one_key_set_first_again_and_again_is_refused() -> None:
    sets = [b"\x28\x01\x01m\x01k\x01\x77\x00"] * SETS_PER_KEY_MAX
    read_update(update_of(*sets))
    with pytest.raises(MalformedUpdate, match="first sets of one key"):
        read_update(update_of(*sets, sets[0]))
    read_update(update_of(*sets, b"\x28\x01\x01m\x01l\x01\x77\x00"))


@pytest.mark.parametrize("what", ["structs", "deletes"])
def test_more_than_the_limit_is_refused_before_it_is_held(what: str) -> None:
    count = STRUCTS_PER_PAYLOAD_MAX + 1
    if what == "structs":
        data = b"\x01" + var_uint(count) + b"\x01\x00" + b"\x00\x01" * count + b"\x00"
    else:
        data = b"\x00\x01\x01" + var_uint(count) + b"\x00\x01" * count
    with pytest.raises(MalformedUpdate, match=r"the limit is|more than"):
        read_update(data)


# ---- the trial ------------------------------------------------------------------------------


def test_event_appends_are_plain_and_nothing_else_is() -> None:
    key = EventId("0" * 16 + "-" + "1" * 32)
    append = encode_event_append(ClientId(1), 0, [(key, b"{}")]).payload
    assert is_plain(read_update(append))
    assert not is_plain(read_update(update_of(LETTER)))
    assert not is_plain(read_update(append[:-1] + b"\x01\x01\x01\x00\x01")), "deletes"
    assert not is_plain(read_update(update_of(b"\x28\x01\x01m\x01k\x01\x77\x00")))


def test_appends_of_events_load_no_document() -> None:
    key = EventId("0" * 16 + "-" + "1" * 32)
    record = record_of(encode_event_append(ClientId(1), 0, [(key, b"{}")]).payload)
    code = (
        "import sys; from weft_engine.document.door import let_in\n"
        f"let_in({record.envelope_bytes!r}, {record.payload!r})\n"
        "assert 'pycrdt' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_what_an_empty_document_can_not_take_in_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is known that passes the reader and fails in an empty document (400,000 mutants of
    real updates); so the document fails here at the bytes that the test names."""
    fails_at(monkeypatch, b"\x04\x01\x06note:n\x01a")
    with pytest.raises(MalformedRecord, match="no document can take its payload in"):
        pass_door(record_of(update_of(LETTER)))
    pass_door(record_of(update_of(in_root(4, string("b")))))


def fails_at(monkeypatch: pytest.MonkeyPatch, part: bytes) -> None:
    """Every document fails at updates that hold `part`."""
    apply = Document.apply

    def failing(self: Document, update: bytes) -> None:
        if part in update:
            apply(self, b"\x01")  # a real error of pycrdt
        apply(self, update)

    monkeypatch.setattr(Document, "apply", failing)


# ---- documents of hostile records -----------------------------------------------------------


def nested(length: int, *, client: int = 1) -> list[bytes]:
    """Updates of which each puts a map into the map of the one before."""
    first = update_of(b"\x27\x01\x01m\x01k\x01", client=client)
    inside = b"\x27\x00" + var_uint(client)
    return [first] + [
        update_of(inside + var_uint(clock - 1) + b"\x01k\x01", clock=clock, client=client)
        for clock in range(1, length)
    ]


def test_types_nested_over_many_records_end_at_the_limit() -> None:
    records = chain_of(*nested(NESTING_DEPTH_MAX + 20))
    for record in records:
        pass_door(record)
    assembly = assembled(records)
    left_out = [record.hash for record in records[NESTING_DEPTH_MAX + 1 :]]
    assert assembly.problems == dict.fromkeys(left_out, MISPLACED)
    assert assembly.document.clocks() == {1: len(records)}, "their clocks are given out"


def test_the_limit_of_depth_does_not_depend_on_the_order() -> None:
    payloads = nested(NESTING_DEPTH_MAX + 5)
    side = update_of(LETTER, client=2)
    one = assembled(chain_of(*payloads, side))
    other = assembled(chain_of(side, *payloads))
    assert len(one.problems) == len(other.problems) == 4
    note = NoteName("n")
    assert one.document.text(note) == other.document.text(note) == "a"
    assert one.document.clocks() == other.document.clocks()


ATTACK = """
import threading
import pycrdt
from tests.unit.test_door import assembled, chain_of, nested
def attack():
    payloads = [*nested({depth}), b"\\x00\\x01\\x01\\x01\\x00\\x01"]
    if {guarded}:
        assembly = assembled(chain_of(*payloads))
        assert assembly.document.clocks() == {{1: {depth}}}
        del assembly
    else:
        doc = pycrdt.Doc()
        for payload in payloads:
            doc.apply_update(payload)
    print("alive")
threading.stack_size(256 * 1024)
thread = threading.Thread(target=attack)
thread.start()
thread.join()
"""


@pytest.mark.parametrize("guarded", [True, False])
def test_deleting_a_deep_chain_of_maps_does_not_end_the_process(guarded: bool) -> None:
    """Without the guard it does: yrs walks it by recursion."""
    code = ATTACK.format(depth=4000, guarded=guarded)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert ("alive" in done.stdout) is guarded, done.stderr
    assert (done.returncode == 0) is guarded


def in_a_letter() -> list[bytes]:
    """A letter, and a struct that says the letter is its parent: yrs fails at it."""
    inside = b"\x04\x00\x01\x00" + string("b")
    return [update_of(LETTER), update_of(inside, clock=1), update_of(LETTER, client=2)]


def test_a_struct_in_no_type_is_left_out_and_pycrdt_would_fail() -> None:
    payloads = in_a_letter()
    doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    doc.apply_update(payloads[0])
    with pytest.raises(BaseException, match="block parent") as caught:
        doc.apply_update(payloads[1])
    assert is_panic(caught.value)
    del doc, caught
    records = chain_of(*payloads)
    for record in records:
        pass_door(record)
    assembly = assembled(records)
    assert assembly.problems == {records[1].hash: MISPLACED}
    assert assembly.document.text(NoteName("n")) == "aa"


def test_what_points_to_what_is_not_there_waits_for_it() -> None:
    first, second = update_of(LETTER), update_of(b"\x84\x01\x00" + string("b"), clock=1)
    records = chain_of(second, update_of(LETTER, client=2), first)
    assembly = Assembly(lambda: Document(ClientId(99)), is_panic)
    assert assembly.take(records[:2])
    assert assembly.problems == {records[0].hash: WAITS}
    assert assembly.document.text(NoteName("n")) == "a"
    assert assembly.take(records[2:])
    assert not assembly.problems
    assert assembly.document.text(NoteName("n")) == assembled(
        chain_of(first, second, update_of(LETTER, client=2))
    ).document.text(NoteName("n"))


def test_a_panicking_record_is_left_out_and_what_builds_on_it_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No record is known that panics behind the guards; the document fails where the test says."""
    good = update_of(LETTER)
    bad = update_of(b"\x84\x01\x00" + string("BAD"), clock=1)
    behind = update_of(LETTER, client=1, clock=4)
    records = chain_of(good, bad, behind)
    fails_at(monkeypatch, b"BAD")
    assembly = assembled(records)
    assert assembly.problems == {records[1].hash: PANICKED}
    assert assembly.document.text(NoteName("n")) == "aa"
    assert assembly.document.clocks() == {1: 5}
    again = assembled(records)
    assert again.problems == assembly.problems
    assert again.document.content() == assembly.document.content()

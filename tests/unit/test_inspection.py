"""A message is inspected in steps, and no step brings anything else than all of it would."""

from __future__ import annotations

import os

import pytest

from weft_engine.errors import MalformedRecord
from weft_engine.names import ContextName, Hlc, event_id
from weft_engine.records.digest import payload_digest
from weft_engine.records.envelope import Envelope, Kind, Record, seal
from weft_engine.records.identity import SignatureItem, WriterKey, client_id
from weft_engine.sync.driving.inspection import Inspected, inspect, inspecting, is_large
from weft_engine.sync.end.incoming import Admission
from weft_engine.sync.interest import EVERYTHING
from weft_engine.yjs.encoder import encode_event_append

KEY = WriterKey(bytes(range(32)))
NAME = ContextName("acme/chat")


def chain(*sizes: int) -> list[Record]:
    """A record for each size, with one event of so many bytes."""
    found: list[Record] = []
    for index, size in enumerate(sizes):
        hlc = Hlc((index + 1) << 16)
        client = client_id(KEY.incarnation, NAME)
        entry = (event_id(hlc, KEY.incarnation), b"x" * size)
        payload = encode_event_append(client, index, [entry]).payload
        prev = found[-1].hash if found else None
        found.append(
            seal(
                Envelope(
                    NAME,
                    KEY.incarnation,
                    index + 1,
                    prev,
                    (),
                    hlc,
                    Kind.NATIVE,
                    payload_digest(payload),
                ),
                payload,
            )
        )
    return found


def message(records: list[Record], items: list[SignatureItem]) -> Admission:
    return Admission(
        1, tuple((r.envelope_bytes, r.payload) for r in records), tuple(items), EVERYTHING
    )


def stepped(admission: Admission) -> tuple[list[bool], Inspected]:
    steps = inspecting(admission)
    pauses: list[bool] = []
    while True:
        try:
            pauses.append(next(steps))
        except StopIteration as done:
            assert is_large(admission) == bool(pauses)
            return pauses, done.value


def test_what_writers_usually_send_is_one_step() -> None:
    records = chain(*[300] * 20)
    pauses, found = stepped(message(records, [KEY.sign(records[-1].hash)]))
    assert pauses == []
    assert found.records == tuple(records)


def test_a_long_message_is_many_steps() -> None:
    records = chain(*[300] * 400)
    items = [KEY.sign(record.hash) for record in records]
    pauses, found = stepped(message(records, items))
    assert len(pauses) > 50
    assert not any(pauses)
    assert found == inspect(message(records, items))
    assert found.records == tuple(records)


def test_a_step_that_may_take_long_is_announced() -> None:
    records = chain(100, 400_000, 100, 100)
    pauses, found = stepped(message(records, [KEY.sign(records[-1].hash)]))
    assert pauses == [True, False]
    assert found.records == tuple(records)


@pytest.mark.parametrize("at", [0, 150, 399])
def test_what_is_wrong_is_found_in_whatever_step_it_is(at: int) -> None:
    records = chain(*[300] * 400)
    admission = message(records, [KEY.sign(records[-1].hash)])
    envelope, payload = admission.records[at]
    altered = (*admission.records[:at], (envelope, payload + b"x"), *admission.records[at + 1 :])
    with pytest.raises(MalformedRecord, match="not the one its envelope names"):
        stepped(Admission(1, altered, admission.items, EVERYTHING))
    forged = SignatureItem(KEY.public_key, records[-1].hash, os.urandom(64))
    with pytest.raises(MalformedRecord, match="signature"):
        stepped(message(records, [*(KEY.sign(r.hash) for r in records[:at]), forged]))

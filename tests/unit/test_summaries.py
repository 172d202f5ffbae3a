"""What a summary says of itself, which goes first, and when calls are settled."""

from __future__ import annotations

from hashlib import blake2b

import pytest

from weft_engine.canonical import parse_json
from weft_engine.errors import InvalidMessage
from weft_engine.events.codec import decode_event, encode_event
from weft_engine.events.event import Event, Message, Role, Summary
from weft_engine.events.part import Call, CallRef, Part, Result, Text
from weft_engine.events.row import KINDS, Row, id_bytes
from weft_engine.events.summaries import (
    Candidate,
    Extent,
    by_preference,
    covered_digest,
    has_pending_calls,
)
from weft_engine.names import EventId, Position, RecordHash
from weft_engine.views.all_policies import find_policy
from weft_engine.views.summarize import Summarize

CALL = Call("c", "f", "{}")


def event_id(number: int) -> EventId:
    return EventId(f"{number:016x}-{'ab' * 16}")


def row(number: int, *, position: int = 1) -> Row:
    identity = id_bytes(event_id(number))
    key = identity[:8] + identity
    return Row(key, Position(position), 0, 10, 0, KINDS[Summary], 0, None, None, 0, None)


def said(
    number: int, author: str, *parts: Part, role: Role = Role.ASSISTANT
) -> tuple[EventId, Event]:
    return event_id(number), Event(author, Message(role, parts))


def result(number: int, of: int) -> tuple[EventId, Event]:
    return said(number, "tool", Result("c", "out", CallRef(event_id(of), 0)), role=Role.TOOL)


def test_the_digest_is_over_ids_of_24_bytes_in_ascending_order() -> None:
    ids = [id_bytes(event_id(number)) for number in (3, 1, 2)]
    joined = b"".join(number.to_bytes(8, "big") + b"\xab" * 16 for number in (1, 2, 3))
    expected = blake2b(joined, digest_size=32, person=b"weft-summary").hexdigest()
    assert covered_digest(ids) == expected
    assert covered_digest(reversed(ids)) == expected


def test_the_larger_count_goes_first_then_the_lesser_id() -> None:
    def candidate(number: int, count: int) -> Candidate:
        return Candidate(row(number), Summary((), count, "", f"{number}"), "a")

    some = [candidate(4, 2), candidate(1, 2), candidate(9, 7), candidate(3, 2)]
    assert [one.summary.text for one in by_preference(some)] == ["9", "1", "3", "4"]


def test_an_extent_may_end_inside_one_record() -> None:
    extent = Extent(frozenset({Position(7)}), Position(3), id_bytes(event_id(20)))
    assert extent.holds(row(90, position=2))
    assert extent.holds(row(20, position=3))
    assert not extent.holds(row(21, position=3))
    assert not extent.holds(row(1, position=7))


@pytest.mark.parametrize(
    ("events", "pending"),
    [
        ([], False),
        ([said(1, "a", CALL)], True),
        ([said(1, "a", CALL), result(2, 1)], False),
        ([said(1, "a", CALL, CALL), result(2, 1)], True),
        ([said(1, "a", CALL), said(2, "a", Text("never mind"))], False),
        ([said(1, "a", CALL), said(2, "b", Text("I go on"))], True),
        ([said(1, "a", CALL), said(2, "a", Text("well?"), role=Role.USER)], True),
        ([said(1, "a", CALL), said(2, "a", CALL)], True),
        ([said(1, "a", CALL, role=Role.USER)], False),
        ([result(2, 1), said(1, "a", CALL)], True),
    ],
)
def test_a_call_is_settled_by_its_result_or_given_up_by_its_author(
    events: list[tuple[EventId, Event]], pending: bool
) -> None:
    assert has_pending_calls(events) is pending


def test_the_event_is_read_as_it_was_written_with_and_without_an_end() -> None:
    hashes = (RecordHash(b"\x01" * 32), RecordHash(b"\x02" * 32))
    for upto in (None, event_id(5)):
        event = Event("summary", Summary(hashes, 3, "ab" * 32, "text", "model", upto))
        data = encode_event(event)
        assert decode_event(data) == event
        assert (b'"upto"' in data) is (upto is not None)
    with pytest.raises(InvalidMessage, match="upto"):
        decode_event(data.replace(b'"upto":"', b'"upto":"x'))


def test_the_policy_summarize_is_found_by_its_name() -> None:
    for policy, config in ((Summarize(), "{}"), (Summarize(keep=900), '{"keep":900}')):
        choice = policy.choice()
        assert (choice.name, choice.version, choice.config) == ("summarize", 1, config)
        assert find_policy(choice) == policy
        assert parse_json(config) == ({} if policy.keep is None else {"keep": 900})
    assert Summarize.allowance_divisor == 4


@pytest.mark.parametrize("keep", [-1, 1.0, True, "9", 2**53])
def test_the_policy_summarize_takes_a_number_of_tokens_and_nothing_else(keep: object) -> None:
    with pytest.raises(InvalidMessage):
        Summarize(keep)  # type: ignore[arg-type]
    with pytest.raises(InvalidMessage):
        Summarize.from_config({"keep": keep})
    with pytest.raises(InvalidMessage):
        Summarize.from_config({"keep": 1, "limit": 2})

"""What an eraser will list: every struct of the named events or note in what is journaled now.

Read in steps, in journal order, which is causal. Must never know: who erases, why.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from weft_engine.events.streams import event_of
from weft_engine.limits import ERASE_RECORD_BYTES, ERASED_EVENTS_MAX
from weft_engine.names import EventId, NoteName, Position, RecordHash
from weft_engine.records.envelope import Kind
from weft_engine.records.erasure import Erasure, Listed, Original, listed, original_of, untouched
from weft_engine.storage import reading
from weft_engine.storage.erasers import EVENT_ID
from weft_engine.storage.erasing import proving
from weft_engine.storage.ledger import ERASED, Stored
from weft_engine.storage.reading import ContextState
from weft_engine.yjs.belonging import Belonging
from weft_engine.yjs.stand_in import Anatomy

T = TypeVar("T")

NOTE_ROOT: Final = "note:"
_STEP_RECORDS: Final = 2048
_STEP_BYTES: Final = 4 * 1024 * 1024
_ID_BYTES: Final = 210
"""An event id in an eraser with its proof; then a listed record, and a listed struct."""
_RECORD_BYTES: Final = 75
_STRUCT_BYTES: Final = 40


@dataclass(frozen=True, slots=True)
class _Found:
    """A record that holds something of what is named."""

    hash: RecordHash
    listed: Listed
    events: dict[int, EventId]
    """Which event a struct stands under."""


class Listing:
    """`events`, or a `note`, of the context as it is in `state`."""

    def __init__(
        self, state: ContextState, events: Sequence[EventId], note: NoteName | None
    ) -> None:
        self._state = state
        self._events = tuple(sorted(set(events)))
        self._wanted = {event.encode() for event in self._events}
        self._note = note
        self._belonging = Belonging(f"{NOTE_ROOT}{note}")
        self._name = f"{NOTE_ROOT}{note}".encode()
        self._after = Position(0)
        self._found: list[_Found] = []

    def read_some(self, connection: sqlite3.Connection) -> bool:
        """Look at the next records; whether there are more."""
        some = reading.records_after(
            connection,
            self._state.id,
            self._after,
            records_max=_STEP_RECORDS,
            bytes_max=_STEP_BYTES,
        )
        for stored in some:
            if stored.position > self._state.position:
                return False
            self._after = stored.position
            if stored.record.envelope.kind in (Kind.NATIVE, Kind.FOREIGN):
                self._look_at(connection, stored)
        return self._after < self._state.position

    @property
    def missing(self) -> list[EventId]:
        """Named events of which the context holds nothing."""
        shown = {event for found in self._found for event in found.events.values()}
        return [event for event in self._events if event not in shown]

    @property
    def is_empty(self) -> bool:
        return not self._found

    def erasures(self, reason: str) -> Iterator[Erasure]:
        """What to write down: as many erasures as it takes for each to stay small."""
        if self._note is not None:
            yield from self._of_note(self._note, reason)
            return
        weight = dict.fromkeys(self._events, _ID_BYTES)
        for found in self._found:
            for event in found.events.values():
                weight[event] += _RECORD_BYTES + _STRUCT_BYTES
        for events in _packed(weight.items(), ERASED_EVENTS_MAX):
            yield Erasure(tuple(events), None, reason, self._only(frozenset(events)))

    def _of_note(self, note: NoteName, reason: str) -> Iterator[Erasure]:
        sizes = (
            (found, _RECORD_BYTES + _STRUCT_BYTES * len(found.listed.originals))
            for found in self._found
        )
        for some in _packed(sizes, len(self._found)):
            yield Erasure((), note, reason, {found.hash: found.listed for found in some})

    def _only(self, events: frozenset[EventId]) -> dict[RecordHash, Listed]:
        chosen: dict[RecordHash, Listed] = {}
        for found in self._found:
            originals = {
                index: digest
                for index, digest in found.listed.originals.items()
                if found.events[index] in events
            }
            if originals:
                chosen[found.hash] = Listed(found.listed.digest, originals)
        return chosen

    def _look_at(self, connection: sqlite3.Connection, stored: Stored) -> None:
        payload = stored.record.payload
        if self._note is not None:
            if self._belonging.is_empty and self._name not in payload:
                return
            anatomy = Anatomy.of(payload)
            indices = [i for i in self._belonging.take(anatomy.update) if not anatomy.is_empty(i)]
            events: dict[int, EventId] = {}
        else:
            if self._wanted.isdisjoint(EVENT_ID.findall(payload)):
                return
            anatomy = Anatomy.of(payload)
            ids: dict[str | None, EventId] = {event: event for event in self._events}
            events = {
                index: ids[event]
                for index, struct in enumerate(anatomy.update.structs)
                if (event := event_of(struct)) in ids
            }
            indices = list(events)
        if not indices:
            return
        original = _original(connection, stored, anatomy)
        if original is not None:
            said = listed(anatomy, original, indices)
            self._found.append(_Found(stored.record.hash, said, events))


def _original(connection: sqlite3.Connection, stored: Stored, anatomy: Anatomy) -> Original | None:
    """None of a record whose stand-in nothing here proves."""
    if not stored.flags & ERASED:
        return untouched(anatomy)
    hash_ = stored.record.hash
    proofs = proving(connection, hash_)
    return original_of(anatomy, [e.records[hash_] for e in proofs if hash_ in e.records])


def _packed(sized: Iterable[tuple[T, int]], count_max: int) -> Iterator[list[T]]:
    """Runs of items of about ERASE_RECORD_BYTES."""
    some: list[T] = []
    size = 0
    for item, item_size in sized:
        if some and (size + item_size > ERASE_RECORD_BYTES or len(some) == count_max):
            yield some
            some, size = [], 0
        some.append(item)
        size += item_size
    if some:
        yield some

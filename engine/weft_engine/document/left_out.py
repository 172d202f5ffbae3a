"""What an equivocation's losing side had written into notes: the document leaves it out, and
nobody's words may vanish without a trace.

Read from the bytes of records. A struct that has an origin or a right origin carries no parent: it
stands where that one stands, so the note is found by going from id to id until a struct names its
root. Of two sides with the same ids, a record means its own. Must never know: Yjs documents.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from weft_engine.document.own_order import in_own_order
from weft_engine.document.replay import replayed
from weft_engine.errors import InvalidName
from weft_engine.names import Hlc, Incarnation, NoteName, RecordHash, note_name
from weft_engine.records.clock import hlc_ms
from weft_engine.records.envelope import Kind, Record
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.update import Id, Struct
from weft_engine.yjs.update import Kind as Content

_NOTE: Final = "note:"
_KEPT: Final = RecordHash(b"")
"""The side of everything that the document holds."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Text that a record inserted into a note, and that the note does not show."""

    note: NoteName
    text: str
    origin: Incarnation
    hlc: Hlc
    record: RecordHash

    @property
    def time_ms(self) -> int:
        return hlc_ms(self.hlc)


def left_out(records: Sequence[Record]) -> list[LeftOut]:
    """Of a context's `records`, in journal order, what the losing sides inserted into notes: an
    entry for each record and note, ordered by (time, record, note). It follows from the set of the
    records, as the document does."""
    kept = {record.hash for record in replayed(records)}
    sides: dict[RecordHash, RecordHash] = {}
    structs = _Structs()
    lost: list[tuple[Record, list[Struct]]] = []
    for record in in_own_order(records):
        envelope = record.envelope
        if envelope.kind not in (Kind.NATIVE, Kind.FOREIGN):
            if envelope.prev in sides:
                sides[record.hash] = sides[envelope.prev]
            continue
        side = _KEPT
        found = read_update(record.payload).structs
        if record.hash not in kept:
            # The first of a side names it.
            prev = envelope.prev
            side = sides[record.hash] = sides.get(prev, record.hash) if prev else record.hash
            lost.append((record, list(found)))
        for struct in found:
            structs.add(side, struct)
    entries = [entry for record, found in lost for entry in _texts(record, found, sides, structs)]
    return sorted(entries, key=lambda entry: (entry.hlc, entry.record, entry.note))


def _texts(
    record: Record,
    found: Sequence[Struct],
    sides: dict[RecordHash, RecordHash],
    structs: _Structs,
) -> list[LeftOut]:
    texts: dict[NoteName, str] = {}
    for struct in found:
        if struct.kind is not Content.STRING or struct.content is None:
            continue
        note = _note(structs.root(sides[record.hash], struct))
        if note is not None:
            start, size = struct.content
            said = record.payload[start : start + size].decode()
            texts[note] = texts.get(note, "") + said
    origin, hlc = record.envelope.origin, record.envelope.hlc
    return [LeftOut(note, text, origin, hlc, record.hash) for note, text in texts.items()]


def _note(root: str | None) -> NoteName | None:
    if root is None or not root.startswith(_NOTE):
        return None
    try:
        return note_name(root.removeprefix(_NOTE))
    except InvalidName:
        return None


@dataclass(slots=True)
class _Structs:
    """All structs by their ids, apart for each side."""

    _starts: dict[tuple[RecordHash, int], list[int]] = field(default_factory=dict)
    _at: dict[tuple[RecordHash, int, int], Struct] = field(default_factory=dict)
    _sides: dict[int, list[RecordHash]] = field(default_factory=dict)
    """By client, the losing sides that hold structs of it."""
    _roots: dict[tuple[RecordHash, int, int], str | None] = field(default_factory=dict)

    def add(self, side: RecordHash, struct: Struct) -> None:
        if struct.kind in (Content.GC, Content.SKIP):
            return
        key = (side, struct.client)
        if key not in self._starts:
            self._starts[key] = []
            if side != _KEPT:
                self._sides.setdefault(struct.client, []).append(side)
        if (side, struct.client, struct.clock) not in self._at:
            insort(self._starts[key], struct.clock)
            self._at[side, struct.client, struct.clock] = struct

    def root(self, side: RecordHash, struct: Struct) -> str | None:
        """The name of the root type that the struct stands in; None if that is not to be found."""
        way: list[tuple[RecordHash, int, int]] = []
        walked: set[tuple[RecordHash, int, int]] = set()
        at: Struct | None = struct
        found: str | None = None
        while at is not None:
            name = (side, int(at.client), at.clock)
            if name in self._roots:
                found = self._roots[name]
                break
            if name in walked:
                break  # A circle, which only bytes made by hand have.
            walked.add(name)
            way.append(name)
            if isinstance(at.parent, str):
                found = at.parent
                break
            target = at.parent or at.origin or at.right_origin
            at, side = (None, side) if target is None else self._find(side, target)
        for name in way:
            self._roots[name] = found
        return found

    def _find(self, side: RecordHash, id_: Id) -> tuple[Struct | None, RecordHash]:
        client, clock = id_
        # What a left-out record refers to and two sides have, the losing one has.
        for where in (side, *self._sides.get(client, ()), _KEPT):
            starts = self._starts.get((where, client), [])
            index = bisect_right(starts, clock) - 1
            if index >= 0:
                struct = self._at[where, client, starts[index]]
                if clock < struct.clock + struct.length:
                    return struct, where
        return None, side

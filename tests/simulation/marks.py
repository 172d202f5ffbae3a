"""Words that are said once: where they stand, and what has to become of them.

Everything that is said on the way carries a mark of its own. So it can be asked of each: is it
shown, was it deleted or erased, and if it was erased, is it in no file any more.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tests.simulation.machine import Machine
from weft_engine.events.candidate import candidates
from weft_engine.events.streams import pieces
from weft_engine.names import ClientId, ContextName, EventId, RecordHash
from weft_engine.records.envelope import Kind, Record
from weft_engine.records.erasure import Erasure, decode_erasure
from weft_engine.storage.listing import NOTE_ROOT
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.update import Id, Struct, Update
from weft_engine.yjs.update import Kind as Content

if TYPE_CHECKING:
    from tests.simulation.world import World

MARK: Final = re.compile(rb"#[0-9]{6}#")
_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Mark:
    """A word that an honest process has journaled. `event`: in which, also while that grows. If in
    a text, its letters are those of the Yjs client from `clock` on; -1 elsewhere. What took an
    event's place in a document stands in none of them: erasing everything takes it, nothing else.
    """

    record: RecordHash
    context: ContextName
    event: EventId | None
    note: str | None
    client: int
    clock: int


@dataclass(slots=True)
class Roots:
    """The root types in which stands what honest processes have journaled in one context. Most
    structs do not name theirs: it is that of the struct they are anchored in."""

    _spans: dict[ClientId, list[tuple[int, int, str]]] = field(default_factory=dict)
    """Of each client (first clock, end, root)."""

    def add(self, update: Update) -> None:
        """It comes behind all it is anchored in that honest processes have written."""
        left = list(update.structs)
        while True:
            # A client's structs may come before those of another that they are anchored in.
            missed: list[Struct] = []
            for struct in left:
                root = self.of(struct)
                if root is None:
                    missed.append(struct)
                    continue
                span = (struct.clock, struct.clock + struct.length, root)
                self._spans.setdefault(struct.client, []).append(span)
            if len(missed) == len(left):
                return
            left = missed

    def of(self, struct: Struct) -> str | None:
        """None where it is anchored in what no honest process has written, or nowhere."""
        if isinstance(struct.parent, str):
            return struct.parent
        links = (struct.parent, struct.origin, struct.right_origin)
        found = (self._at(link) for link in links if link is not None)
        return next((root for root in found if root is not None), None)

    def _at(self, link: Id) -> str | None:
        client, clock = link
        spans = reversed(self._spans.get(client, []))
        return next((root for first, end, root in spans if first <= clock < end), None)


@dataclass(slots=True)
class Marks:
    made: int = 0
    found: dict[bytes, Mark] = field(default_factory=dict)
    copies: dict[bytes, set[RecordHash]] = field(default_factory=dict)
    """All records that hold a word: the end of a stream repeats what stands in its pieces."""
    acknowledged: dict[bytes, str] = field(default_factory=dict)
    """Those in notes, and who acknowledged them."""
    _roots: dict[ContextName, Roots] = field(default_factory=dict)

    def new(self) -> str:
        self.made += 1
        return f"#{self.made:06d}#"

    def journaled(self, record: Record) -> None:
        if record.envelope.kind not in (Kind.NATIVE, Kind.FOREIGN):
            return
        payload = record.payload
        update = read_update(payload)
        roots = self._roots.setdefault(record.envelope.context, Roots())
        roots.add(update)
        words = [(match.start(), match.group()) for match in MARK.finditer(payload)]
        if not words:
            return
        events = {(c.offset, c.offset + c.length): EventId(c.key) for c in candidates(update)}
        events |= {(p.offset, p.offset + p.length): p.id for p in pieces(record, update)}
        for at, word in words:
            self.copies.setdefault(word, set()).add(record.hash)
            if word in self.found:
                continue
            event = next((id_ for (a, b), id_ in events.items() if a <= at < b), None)
            client = clock = -1
            root = ""
            for struct in update.structs:
                if struct.kind is Content.STRING and struct.content is not None:
                    start, size = struct.content
                    if start <= at < start + size:
                        before = payload[start:at].decode()
                        client = struct.client
                        clock = struct.clock + len(before.encode("utf-16-le")) // 2
                        root = roots.of(struct) or ""
            note = root.removeprefix(NOTE_ROOT) if root.startswith(NOTE_ROOT) else None
            self.found[word] = Mark(
                record.hash, record.envelope.context, event, note, client, clock
            )


@dataclass(frozen=True, slots=True)
class Erased:
    """What the erasers of one context, in its journal, have taken. `named`: those of `events`
    that an eraser names, of which every copy goes, whoever wrote it. `stays`: what was written
    under the ids of the rest in records that no eraser of everything knew."""

    events: frozenset[EventId]
    words: frozenset[bytes]
    named: frozenset[EventId]
    stays: frozenset[tuple[EventId, bytes]]
    blank: frozenset[RecordHash]
    """The records that erasers of everything knew."""


def erased(world: World, machine: Machine, name: ContextName) -> Erased:
    records, _, _ = machine.look_at(name)
    by_hash = {record.hash: record for record in records}
    events: set[EventId] = set()
    named: set[EventId] = set()
    blank: set[RecordHash] = set()
    words: set[bytes] = set()
    for record in records:
        if record.envelope.kind is not Kind.ERASE:
            continue
        erasure = decode_erasure(record.payload, record.envelope.origin)
        past = _past(record, by_hash) if erasure.is_everything else set()
        events.update(erasure.events)
        named.update(erasure.events)
        blank |= past
        for word, mark in world.marks.found.items():
            copies = world.marks.copies[word]
            if mark.context == name and is_taken(erasure, mark, past, copies):
                words.add(word)
                if mark.event is not None:
                    events.add(mark.event)
        events.update(id_ for id_, (hash_, _) in world.said.items() if hash_ in past)
    stays = {
        (EventId(found.key), record.payload[found.offset : found.offset + found.length])
        for record in records
        if record.envelope.kind in (Kind.NATIVE, Kind.FOREIGN) and record.hash not in blank
        for found in candidates(read_update(record.payload))
        if found.key in events and found.key not in named
    }
    return Erased(
        frozenset(events), frozenset(words), frozenset(named), frozenset(stays), frozenset(blank)
    )


def _is_split(mark: Mark, origins: set[tuple[ClientId, int] | None]) -> bool:
    """Somebody wrote something else between its letters."""
    return any(
        (ClientId(mark.client), clock) in origins
        for clock in range(mark.clock, mark.clock + _BYTES - 1)
    )


def is_taken(erasure: Erasure, mark: Mark, past: set[RecordHash], copies: set[RecordHash]) -> bool:
    """Whether an eraser with this past takes a word away. A record that it lists may hold more
    than what it names."""
    if erasure.is_everything:
        return copies <= past
    if mark.event is not None:
        return mark.event in erasure.events
    return mark.note is not None and mark.note == erasure.note and copies <= set(erasure.records)


def _past(record: Record, by_hash: dict[RecordHash, Record]) -> set[RecordHash]:
    found: set[RecordHash] = set()
    left = list(record.envelope.parents)
    while left:
        hash_ = left.pop()
        if hash_ not in found and hash_ in by_hash:
            found.add(hash_)
            left.extend(by_hash[hash_].envelope.parents)
    return found


async def check_erased(world: World, names: Sequence[ContextName]) -> None:
    """What is erased is in no file of any machine that takes part."""
    for machine in world.machines.values():
        assert machine.replica is not None
        await machine.replica.erasing.done()
    for name in names:
        gone: frozenset[bytes] | None = None
        for machine in world.machines.values():
            if not machine.interest.covers(name):
                continue
            if gone is None:
                gone = erased(world, machine, name).words
                world.counts["words erased"] += len(gone)
            if not gone:
                break
            for file, data in machine.files().items():
                left = gone.intersection(MARK.findall(data))
                if left:
                    world.fail(
                        f"{machine.name} has {min(left)!r} in {file}, which was erased in {name}"
                    )


async def check_notes(world: World, machine: Machine, names: Sequence[ContextName]) -> None:
    """Every word that was acknowledged in a note is in it, or was deleted, or erased, or is listed
    among the problems of the context."""
    assert machine.replica is not None
    for name in names:
        context = machine.replica.context(name)
        words = [
            word
            for word in world.marks.acknowledged
            if (mark := world.marks.found.get(word)) is not None
            and mark.context == name
            and mark.record not in world.given_up
        ]
        if not words:
            continue
        shown = "".join([await context.note(note).text() for note in ("plan", "todo")])
        left = [word for word in words if word.decode() not in shown]
        if not left:
            continue
        gone = erased(world, machine, name).words
        listed = " ".join(entry.text for entry in await context.left_out())
        kept_out = {bytes.fromhex(hash_) for hash_, _ in await context.kept_out()}
        records, _, _ = machine.look_at(name)
        updates = [
            read_update(record.payload)
            for record in records
            if record.envelope.kind in (Kind.NATIVE, Kind.FOREIGN)
        ]
        deletes = [delete for update in updates for delete in update.deletes]
        origins = {struct.origin for update in updates for struct in update.structs}
        for word in left:
            mark = world.marks.found[word]
            if (
                word in gone
                or (_is_split(mark, origins) and re.search(".*".join(word.decode()), shown, re.S))
                or word.decode() in listed
                or mark.record in kept_out
                or any(
                    client == mark.client and at < mark.clock + _BYTES and mark.clock < at + length
                    for client, at, length in deletes
                )
            ):
                continue
            if gone:
                # Concurrent text next to what was erased goes with it where that is blank.
                world.counts["words that went with erased ones"] += 1
                continue
            world.fail(
                f"{machine.name} shows {word!r} nowhere, which {world.marks.acknowledged[word]}"
                f" has written into a note of {name}"
            )

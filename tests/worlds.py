"""Random worlds for property tests: writers that share, fork, import, forge and repeat themselves.

A world is a set of real, signed records of one context, made by several writers that each know
only part of it. `reference` computes what must come out, straight from the definitions.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from weft_engine.events.codec import decode_event, encode_event
from weft_engine.events.event import Branch, Event, ImportedFrom, Interrupted, Message, Role
from weft_engine.events.part import Call, CallRef, Result, Text
from weft_engine.events.streams import text_key
from weft_engine.names import (
    ClientId,
    ContextName,
    EventId,
    Hlc,
    RecordHash,
    event_id,
    event_id_hlc,
    event_id_incarnation,
)
from weft_engine.records.certificate import RegionKey
from weft_engine.records.clock import HybridClock
from weft_engine.records.digest import payload_digest
from weft_engine.records.envelope import Envelope, Kind, Record, seal
from weft_engine.records.erasure import Erasure, Listed, listed, untouched
from weft_engine.records.frontier import advance
from weft_engine.records.identity import SignatureItem, WriterKey, client_id
from weft_engine.yjs.encoder import STREAMS_ROOT, encode_event_append, encode_stream_append
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.stand_in import Anatomy

CONTEXT = ContextName("world/one")


@dataclass
class Author:
    """One writer: what it holds, and its chain."""

    key: WriterKey
    clock: HybridClock
    held: dict[RecordHash, Record] = field(default_factory=dict)
    frontier: tuple[RecordHash, ...] = ()
    chain: list[Record] = field(default_factory=list)
    client_clock: int = 0
    wall_ms: int = 0

    def receive(self, record: Record) -> None:
        if record.hash not in self.held:
            self.held[record.hash] = record
            self.frontier = advance(self.frontier, record.envelope.parents, record.hash)
            self.clock.observe(record.envelope.hlc)

    def write(
        self,
        entries: list[tuple[EventId, bytes]],
        *,
        kind: Kind = Kind.NATIVE,
        after: Record | None = None,
        foreign_client: int | None = None,
    ) -> Record:
        """A record with these events; `after` forks the chain there (an equivocation)."""

        def encode(client: ClientId, clock: int) -> bytes:
            return encode_event_append(client, clock, entries).payload

        return self._write(encode, len(entries), kind, after, foreign_client)

    def write_update(self, payload: bytes, structs: int) -> Record:
        """A native record with an update that takes up so many of its clocks."""
        return self._write(lambda *_: payload, structs, Kind.NATIVE, None, None)

    def write_payload(self, payload: bytes, kind: Kind) -> Record:
        """A record with an update that takes up none of its clocks."""
        return self._write(lambda *_: payload, 0, kind, None, None)

    def add_to_streams(self, entries: list[tuple[str, bytes]]) -> Record:
        """A record with these pieces."""
        encode = partial(encode_stream_append, entries=entries)
        return self._write(encode, len(entries), Kind.NATIVE, None, None)

    def _write(
        self,
        encode: Callable[[ClientId, int], bytes],
        structs: int,
        kind: Kind,
        after: Record | None,
        foreign_client: int | None,
    ) -> Record:
        prev = after if after is not None else (self.chain[-1] if self.chain else None)
        client = ClientId(foreign_client or client_id(self.key.incarnation, CONTEXT))
        payload = encode(client, self.client_clock)
        self.client_clock += structs
        hlc = self.clock.tick(self.wall_ms)
        deps = tuple(h for h in self.frontier if prev is None or h != prev.hash)
        envelope = Envelope(
            CONTEXT,
            self.key.incarnation,
            1 if prev is None else prev.envelope.seq + 1,
            None if prev is None else prev.hash,
            deps,
            hlc,
            kind,
            payload_digest(payload),
        )
        record = seal(envelope, payload)
        self.receive(record)
        if after is None:
            self.chain.append(record)
        return record

    def erase(self, erasure: Erasure) -> Record:
        """An erasing record behind everything that is held."""
        prev = self.chain[-1] if self.chain else None
        payload = erasure.encode()
        envelope = Envelope(
            CONTEXT,
            self.key.incarnation,
            1 if prev is None else prev.envelope.seq + 1,
            None if prev is None else prev.hash,
            tuple(h for h in self.frontier if prev is None or h != prev.hash),
            self.clock.tick(self.wall_ms),
            Kind.ERASE,
            payload_digest(payload),
        )
        record = seal(envelope, payload)
        self.receive(record)
        self.chain.append(record)
        return record

    def new_id(self) -> EventId:
        return event_id(self.clock.tick(self.wall_ms), self.key.incarnation)


REGION = RegionKey(b"the region of all these worlds..")


def sign(key: WriterKey, record: Record) -> SignatureItem:
    """A signature with a certificate: some of what is written in a world is foreign."""
    return replace(key.sign(record.hash), certificate=REGION.certify(key.incarnation))


@dataclass
class World:
    records: list[Record]
    items: list[SignatureItem]


def make_world(
    seed: int,
    *,
    steps: int,
    authors: int = 3,
    forks: float = 0.05,
    erasing: float = 0.0,
    branching: float = 0.0,
    streams: float = 0.0,
    early: float = 0.0,
) -> World:
    """`forks`: how often a record begins the second side of an equivocation. `erasing`: how likely
    a step writes an eraser, honest or not. `branching`: how likely it begins a branch; then some
    of what is said, and imported, is said on one. `streams`: how likely a step tells how a message
    broke off, or it turns up, or adds to one. `early`: how likely a branch is written on before
    it is begun."""
    rng = random.Random(seed)
    people = [
        Author(WriterKey(rng.randbytes(32)), HybridClock(), wall_ms=1_000_000 + rng.randrange(50))
        for _ in range(authors)
    ]
    made: list[tuple[Author, Record]] = []
    known_ids: list[EventId] = []
    branches: list[EventId] = []
    streamed: list[EventId] = []
    live: list[_Live] = []
    promised: list[tuple[Author, EventId]] = []

    def branch() -> EventId | None:
        return rng.choice(branches) if branches and rng.random() < 0.6 else None

    for step in range(steps):
        author = rng.choice(people)
        author.wall_ms += rng.choice([0, 1, 5, -3])
        if erasing and author.held and rng.random() < erasing:
            made.append((author, author.erase(_erasure(rng, author, known_ids))))
            continue
        if branching and rng.random() < branching:
            if early and rng.random() < early:
                promised.append((author, author.new_id()))
                branches.append(promised[-1][1])
                continue
            id_ = next((id_ for who, id_ in promised if who is author), None) or author.new_id()
            promised = [one for one in promised if one[1] != id_]
            begun = [(id_, _branch(rng, author, made, branch()))]
            branches.append(id_)
            if rng.random() < 0.3:
                begun.insert(rng.randrange(2), (author.new_id(), _message(rng, author, step)))
            if rng.random() < 0.3:
                begun.append((author.new_id(), _message(rng, author, step, branches[-1])))
            made.append((author, author.write(begun)))
            known_ids.extend(entry[0] for entry in begun)
            continue
        choice = rng.random()
        if choice < 0.3:
            _merge(rng, author, rng.choice(people))
            continue
        entries: list[tuple[EventId, bytes]] = []
        if choice < 0.36:
            entries = _conversation(rng, author, branch())
            if rng.random() < 0.5:
                known_ids.extend(entry[0] for entry in entries)
            record = author.write(entries)
            made.append((author, record))
            continue
        elif choice < 0.42 and known_ids:
            # Somebody sets an id that is not his, or his own again.
            said = _message(rng, author, step)
            if branching and rng.random() < 0.2:
                said = _branch(rng, author, made, branch())
            if rng.random() < 0.4:
                said = encode_event(Event("import", _imported(rng.randint(0, 3), None)))
            taken = rng.choice(known_ids)
            author.clock.observe(event_id_hlc(taken))  # a record is not stamped before its events
            entries.append((taken, said))
        elif choice < 0.45:
            entries.append((author.new_id(), rng.choice([b"{}", b"not json", b'{"kind":"later"}'])))
        elif streams and rng.random() < streams / 2:
            record = _grow(rng, author, step, branch(), live, streamed, known_ids)
            made.append((author, record))
            continue
        elif streams and rng.random() < streams:
            entries.append(_streamed(rng, author, step, branch(), streamed, known_ids))
            if rng.random() < 0.2:
                entries.append((author.new_id(), _message(rng, author, step, branch(), made)))
        else:
            for _ in range(rng.choice([1, 1, 1, 2, 3])):
                entries.append((author.new_id(), _message(rng, author, step, branch(), made)))
        after = None
        if rng.random() < forks and len(author.chain) >= 2:
            after = rng.choice(author.chain[:-1])
        foreign = rng.random() < 0.1
        record = author.write(
            entries,
            kind=Kind.FOREIGN if foreign else Kind.NATIVE,
            after=after,
            foreign_client=rng.randrange(1, 1 << 32) if foreign else None,
        )
        made.append((author, record))
        known_ids.extend(entry[0] for entry in entries)
    return World(
        [record for _, record in made],
        [sign(author.key, record) for author, record in made],
    )


def _merge(rng: random.Random, into: Author, source: Author) -> None:
    """`into` learns a causal prefix of what `source` holds."""
    records = list(source.held.values())
    for record in records[: rng.randint(0, len(records))]:
        if all(parent in into.held for parent in record.envelope.parents):
            into.receive(record)


def _erasure(rng: random.Random, author: Author, known_ids: list[EventId]) -> Erasure:
    if rng.random() < 0.15 or not known_ids:
        return Erasure((), None, "all of it", {})
    ids = tuple(sorted(set(rng.choices(known_ids, k=rng.choice([1, 1, 2, 4])))))
    erasure = Erasure(ids, None, "some of it", {})
    found: dict[RecordHash, Listed] = {}
    for record in author.held.values():
        if record.envelope.kind in (Kind.NATIVE, Kind.FOREIGN):
            anatomy = Anatomy.of(record.payload)
            shown = erasure.named(anatomy)
            if shown:
                found[record.hash] = listed(anatomy, untouched(anatomy), shown)
    if found and rng.random() < 0.3:
        # A liar: one record left out, with another digest, or with structs that are not his.
        hash_ = rng.choice(list(found))
        said = found.pop(hash_)
        match rng.randrange(4):
            case 0:
                found[hash_] = Listed(bytes(32), said.originals)
            case 1:
                found[hash_] = Listed(said.digest, dict.fromkeys(said.originals, bytes(32)))
            case 2:
                anatomy = Anatomy.of(author.held[hash_].payload)
                everything = range(len(anatomy.spans))
                found[hash_] = listed(anatomy, untouched(anatomy), everything)
    return Erasure(ids, None, "some of it", found)


def _branch(
    rng: random.Random,
    author: Author,
    made: list[tuple[Author, Record]],
    parent: EventId | None,
) -> bytes:
    """A branch event: from now, from some record, from within one, or from what is not held."""
    cut = author.frontier
    upto: EventId | None = None
    if author.held and rng.random() < 0.7:
        some = rng.sample(list(author.held), min(len(author.held), rng.choice([1, 1, 1, 2])))
        cut = tuple(sorted(some))
        ids = [key for key, _ in _entries(author.held[some[0]])]
        if ids and rng.random() < 0.5:
            upto = rng.choice(ids)
    if made and rng.random() < 0.1:
        cut = tuple(sorted({*cut, rng.choice(made)[1].hash}))
    return encode_event(Event("b", Branch("again", cut, upto), branch=parent))


def _conversation(
    rng: random.Random, author: Author, branch: EventId | None = None
) -> list[tuple[EventId, bytes]]:
    """The beginning of one and the same file, as this author imports it."""
    ids = [author.new_id() for _ in range(rng.randint(1, 5))]
    return [
        (
            id_,
            encode_event(
                Event("import", _imported(index, ids[index - 1] if index else None), branch=branch)
            ),
        )
        for index, id_ in enumerate(ids)
    ]


def _imported(index: int, before: EventId | None) -> Message:
    ext = ImportedFrom("openai_chat:x", index)
    match index % 4:
        case 1:
            return Message(Role.ASSISTANT, (Call("c1", "look", "{}"),), ext=ext)
        case 2:
            call = None if before is None else CallRef(before, 0)
            return Message(Role.TOOL, (Result("c1", "found", call),), ext=ext)
        case 3:
            return Message(Role.ASSISTANT, (Text(f"m{index}"),), ext=ext)
    return Message(Role.USER, (Text(f"m{index}"),), ext=ext)


@dataclass
class _Live:
    """A stream that its writer has opened."""

    author: Author
    id: EventId
    opening: Event
    pieces: int = 0


def _grow(
    rng: random.Random,
    author: Author,
    step: int,
    branch: EventId | None,
    live: list[_Live],
    streamed: list[EventId],
    known_ids: list[EventId],
) -> Record:
    """A stream is opened, or grows, or becomes a message, which had seen what its opening had."""
    own = [one for one in live if one.author is author]
    if not own or rng.random() < 0.3:
        role = rng.choice([Role.ASSISTANT, Role.ASSISTANT, Role.USER])
        seen = author.frontier if role is Role.ASSISTANT else None
        one = _Live(author, author.new_id(), Event("a", Message(role, ()), branch, seen))
        live.append(one)
        streamed.append(one.id)
        return author.add_to_streams([(one.id, encode_event(one.opening))])
    one = rng.choice(own)
    if rng.random() < 0.5:
        one.pieces += 1
        return author.add_to_streams([(text_key(one.id, one.pieces - 1), b"x")])
    live.remove(one)
    known_ids.append(one.id)
    body = one.opening.body
    assert isinstance(body, Message)
    whole = replace(one.opening, body=replace(body, parts=(Text(f"text {step}"),)))
    return author.write([(one.id, encode_event(whole))])


def _streamed(
    rng: random.Random,
    author: Author,
    step: int,
    branch: EventId | None,
    streamed: list[EventId],
    known_ids: list[EventId],
) -> tuple[EventId, bytes]:
    """Somebody tells how a message broke off, or it turns up, from whoever."""
    if not streamed or rng.random() < 0.3:
        streamed.append(author.new_id())
    target = rng.choice(streamed if rng.random() < 0.9 else [*streamed, *known_ids])
    if rng.random() < 0.25:
        author.clock.observe(event_id_hlc(target))
        return target, _message(rng, author, step, branch)
    parts = tuple(Text("x" * rng.randint(0, 3)) for _ in range(rng.choice([0, 1, 1, 2])))
    role = rng.choice([Role.ASSISTANT, Role.ASSISTANT, Role.USER])
    seen = decode_event(_message(rng, author, step)).seen
    data = encode_event(Event("a", Interrupted(target, parts, role), branch=branch, seen=seen))
    own = author.new_id()
    if known_ids and rng.random() < 0.35:
        own = rng.choice(known_ids)
        author.clock.observe(event_id_hlc(own))
    return own, data


def _message(
    rng: random.Random,
    author: Author,
    step: int,
    branch: EventId | None = None,
    made: list[tuple[Author, Record]] | None = None,
) -> bytes:
    role = rng.choice([Role.USER, Role.USER, Role.ASSISTANT, Role.SYSTEM])
    seen = None
    if role is Role.ASSISTANT and rng.random() < 0.4 and author.held:
        some = rng.sample(list(author.held), min(len(author.held), rng.randint(1, 2)))
        if made and rng.random() < 0.2:
            # Somebody's whose record it need not have in its past.
            some = [*some, rng.choice(made)[1].hash]
        seen = tuple(sorted(set(some)))
    return encode_event(
        Event("a", Message(role, (Text(f"text {step}"),)), branch=branch, seen=seen)
    )


def causal_shuffle(rng: random.Random, records: list[Record]) -> list[Record]:
    """The records in a random order in which parents come before children."""
    left = {record.hash: record for record in records}
    done: set[RecordHash] = set()
    result: list[Record] = []
    while left:
        ready = [r for r in left.values() if done.issuperset(r.envelope.parents)]
        record = rng.choice(ready)
        result.append(record)
        done.add(record.hash)
        del left[record.hash]
    return result


@dataclass(frozen=True)
class Found:
    """The winning candidate of an id, if that is a valid event."""

    key: EventId
    record: Record
    index: int
    event: Event


def reference_order(records: list[Record]) -> list[list[EventId]]:
    """The reading order of main, a list of each message's ids, from the definitions alone."""
    return reference_orders(records)[None]


def reference_orders(records: list[Record]) -> dict[EventId | None, list[list[EventId]]]:
    """The reading order of main (None) and of every branch that stands."""
    past = _pasts(records)
    events = standing(records)
    branches = {one.key: one for one in events if isinstance(one.event.body, Branch)}
    orders: dict[EventId | None, list[list[EventId]]] = {}
    for branch in (None, *branches):
        lineage: list[Found] = []
        parent = branch
        while parent is not None and parent in branches and len(lineage) <= len(branches):
            lineage.append(branches[parent])
            parent = branches[parent].event.branch
        if parent is None:
            orders[branch] = _read(_messages(events, past, lineage[::-1]), past)
    return orders


def _pasts(records: list[Record]) -> dict[RecordHash, frozenset[RecordHash]]:
    past: dict[RecordHash, frozenset[RecordHash]] = {}
    for record in records:
        closed: set[RecordHash] = set()
        for parent in record.envelope.parents:
            closed |= past[parent] | {parent}
        past[record.hash] = frozenset(closed)
    return past


def winners(records: list[Record]) -> list[Found]:
    winners: dict[EventId, tuple[tuple[object, ...], Record, int, bytes]] = {}
    for record in records:
        for index, (key, data) in enumerate(_entries(record)):
            rank = 0 if event_id_incarnation(key) == record.envelope.origin else 2
            if rank == 2 and record.envelope.kind is Kind.FOREIGN:
                rank = 1
            standing = (rank, record.envelope.hlc, record.hash, index)
            if key not in winners or standing < winners[key][0]:
                winners[key] = (standing, record, index, data)
    found: list[Found] = []
    for key, (_, record, index, data) in winners.items():
        try:
            found.append(Found(key, record, index, decode_event(data)))
        except Exception:  # noqa: BLE001 - whatever is wrong with it, it is no event
            continue
    return found


def standing(records: list[Record]) -> list[Found]:
    """The winners, and for each id that nobody holds the stream of that id, if it was interrupted:
    it stands as far as the best of those that tell of it say."""
    events = winners(records)
    held = {key for record in records for key, _ in _entries(record)}
    told: dict[EventId, list[tuple[tuple[object, ...], Found]]] = {}
    for one in events:
        body = one.event.body
        if isinstance(body, Interrupted) and body.target not in held:
            size = sum(len(part.text) for part in body.parts if isinstance(part, Text))
            message = replace(one.event, body=Message(body.role, body.parts, body.name))
            found = Found(body.target, one.record, one.index, message)
            told.setdefault(body.target, []).append(((-size, -len(body.parts), one.key), found))
    for some in told.values():
        best = min(some, key=lambda one: one[0])[1]
        if isinstance(best.event.body, Message) and best.event.body.parts:
            events.append(best)
    return events


def reference_streams(records: list[Record]) -> set[tuple[EventId, RecordHash]]:
    """The streams that have not ended, with the records that add to them."""
    ended = {key for record in records for key, _ in _entries(record)}
    for one in winners(records):
        if isinstance(one.event.body, Interrupted):
            ended.add(one.event.body.target)
    found: set[tuple[EventId, RecordHash]] = set()
    for record in records:
        if record.envelope.kind is Kind.NATIVE:
            for struct in read_update(record.payload).structs:
                if struct.parent == STREAMS_ROOT and struct.key is not None:
                    found.add((EventId(struct.key[:49]), record.hash))
    return {one for one in found if one[0] not in ended}


def _messages(
    events: list[Found],
    past: dict[RecordHash, frozenset[RecordHash]],
    lineage: list[Found],
) -> dict[object, list[Found]]:
    """The messages of a branch by class: of its parent those within what they share, and its own.
    `lineage` are the branches on the way from main, itself last."""
    shared: dict[object, list[Found]] = {}
    own: EventId | None = None
    if lineage:
        *above, line = lineage
        own = line.key
        body = line.event.body
        assert isinstance(body, Branch)
        cut = [hash_ for hash_ in body.frontier if hash_ in past[line.record.hash]]
        closed = set(cut).union(*(past[hash_] for hash_ in cut))

        def within(one: Found) -> bool:
            if body.upto is not None and cut == [one.record.hash]:
                return one.key <= body.upto
            return one.record.hash in closed

        for name, members in _messages(events, past, above).items():
            if any(within(one) for one in members):
                shared[name] = members
    found = {name: list(members) for name, members in shared.items()}
    for one in events:
        message = one.event.body
        if not isinstance(message, Message) or one.event.branch != own:
            continue
        name = one.key
        if message.ext is not None:
            linked = any(isinstance(p, Result) and p.call for p in message.parts)
            found.setdefault((message.ext.index, message.role, linked), []).append(one)
        else:
            found[name] = [one]
    return found


def _read(
    classes: dict[object, list[Found]], past: dict[RecordHash, frozenset[RecordHash]]
) -> list[list[EventId]]:
    names = list(classes)
    by_record: dict[RecordHash, list[tuple[int, int]]] = {}
    for number, name in enumerate(names):
        for one in classes[name]:
            by_record.setdefault(one.record.hash, []).append((one.index, number))
    seen: dict[int, set[int]] = {}
    keys: list[tuple[Hlc, str]] = []
    for number, name in enumerate(names):
        members = classes[name]
        keys.append(
            min(
                (Hlc(min(event_id_hlc(one.key), one.record.envelope.hlc)), str(one.key))
                for one in members
            )
        )
        body = members[0].event.body
        if not (isinstance(body, Message) and body.role is Role.ASSISTANT):
            continue
        mine: set[int] = set()
        for one in members:
            visible = past[one.record.hash]
            if one.event.seen is not None:
                closed: set[RecordHash] = set()
                for hash_ in one.event.seen:
                    if hash_ in visible:
                        closed |= past[hash_] | {hash_}
                visible = frozenset(closed)
            for hash_ in visible:
                mine |= {n for _, n in by_record.get(hash_, [])}
            mine |= {n for i, n in by_record[one.record.hash] if i < one.index}
        mine.discard(number)
        seen[number] = mine

    def read(among: set[int]) -> list[int]:
        generations = [n for n in among if n in seen]
        if not generations:
            return sorted(among, key=lambda n: keys[n])
        chosen = min(generations, key=lambda n: (-len(seen[n] & among), keys[n]))
        left = among & seen[chosen]
        return [*read(left), chosen, *read(among - left - {chosen})]

    return [sorted(one.key for one in classes[names[n]]) for n in read(set(range(len(names))))]


def _entries(record: Record) -> list[tuple[EventId, bytes]]:
    from weft_engine.events.candidate import candidates

    if record.envelope.kind not in (Kind.NATIVE, Kind.FOREIGN):
        return []
    found = candidates(read_update(record.payload))
    return [(EventId(c.key), record.payload[c.offset : c.offset + c.length]) for c in found]

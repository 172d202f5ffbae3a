"""What can be read of a damaged store: records, signatures and keys, each proved by itself.

Rows are known by their shape and believed only if their hashes and signatures hold, so it does not
matter where on the disk they were found, or whether they were found twice.
Must never know: what becomes of what is found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from weft_engine.errors import InvalidName, MalformedRecord, MalformedUpdate
from weft_engine.names import Incarnation, RecordHash, context_name
from weft_engine.records.certificate import Certificate
from weft_engine.records.digest import origin_digest, payload_digest, record_digest
from weft_engine.records.envelope import Kind, Record, decode_envelope
from weft_engine.records.frontier import unpack
from weft_engine.records.identity import SignatureItem, WriterKey
from weft_engine.records.sound import read_record
from weft_engine.storage.ledger import ERASED
from weft_engine.storage.pages import Cell, Pages, Value
from weft_engine.storage.proofs import Proofs

_NULL: Final = 0
_HASH: Final = 12 + 2 * 32
_INCARNATION: Final = 12 + 2 * 16
_SIGNATURE: Final = 12 + 2 * 64
_HLC: Final = 12 + 2 * 8
_ROW_BYTES_MIN: Final = 100
"""No row of `records` is smaller, so a file of n bytes has no position above n / 100."""


@dataclass(slots=True)
class Known:
    """What a store says of one of its contexts."""

    name: str
    records: int
    position: int


@dataclass(frozen=True, slots=True)
class Found:
    """A sound record and where it stood. `erasers`: if it has a stand-in for its payload, those
    that prove it. `is_named`: it stood there under its own hash. A damaged envelope may still be
    one, of a record that never was, so without that something else has to name it."""

    position: int
    record: Record
    erasers: tuple[RecordHash, ...]
    is_named: bool


@dataclass(slots=True)
class Salvage:
    """The rows of a damaged store, by what they look like."""

    pages: Pages
    rows: dict[int, list[Cell]] = field(default_factory=dict)
    """By position, what looks like a record: usually one row."""
    signatures: dict[int, list[Cell]] = field(default_factory=dict)
    public_keys: dict[Incarnation, bytes] = field(default_factory=dict)
    writers: dict[Incarnation, WriterKey] = field(default_factory=dict)
    """Of this store's own incarnations."""
    certificates: dict[Incarnation, bytes] = field(default_factory=dict)
    early: list[Cell] = field(default_factory=list)
    """What looks like an eraser that came before its turn."""
    contexts: dict[int, Known] = field(default_factory=dict)
    tips: set[RecordHash] = field(default_factory=set)
    """What the frontiers of contexts name, sound or not."""
    proofs: Proofs = field(default_factory=Proofs)

    @property
    def positions_max(self) -> int:
        """No real position is higher."""
        return self.pages.count * self.pages.page_bytes // _ROW_BYTES_MIN

    def records_at(self, position: int) -> list[Found]:
        """The sound records that stand at a position: none if all its rows are damaged."""
        found: dict[RecordHash, Found] = {}
        erased: set[RecordHash] = set()
        for cell in self.rows[position]:
            values = self.pages.values(cell)
            if values is None:
                continue
            said = _said_erased(values)
            if said is not None:
                erased.add(said)
            one = self._found(position, values)
            if one is None:
                continue
            known = found.get(one.record.hash)
            # Once erased, always erased: an older row of it does not bring it back.
            if known is None or (bool(one.erasers), one.is_named) > (
                bool(known.erasers),
                known.is_named,
            ):
                found[one.record.hash] = one
        # Nor where what stands in its place is damaged: then it is lost here.
        return [one for hash_, one in found.items() if one.erasers or hash_ not in erased]

    def find_erasers(self) -> None:
        """Fill `proofs` with every sound eraser of the journal. Before anything else is read, for
        it may stand anywhere."""
        for position, cells in self.rows.items():
            for cell in cells:
                values = self.pages.values(cell)
                if values is None or not _is_eraser(values):
                    continue
                found = self._found(position, values)
                if found is None:
                    continue
                items = list(self.items(found))
                key = self.writers.get(found.record.envelope.origin)
                if found.is_named and not items and key is not None:
                    items = [key.sign(found.record.hash)]
                if found.is_named or items:
                    self.proofs.add(found.record, items)
        for cell in self.early:
            self._note_early(cell)

    def _note_early(self, cell: Cell) -> None:
        values = self.pages.values(cell)
        if values is None:
            return
        _, _, envelope, payload, public_key, signature = values
        assert type(envelope) is bytes
        assert type(payload) is bytes
        assert type(public_key) is bytes
        assert type(signature) is bytes
        try:
            record = read_record(envelope, payload)
            item = SignatureItem(public_key, record.hash, signature)
            item.verify()
        except MalformedRecord:
            return
        if record.envelope.kind is Kind.ERASE and item.incarnation == record.envelope.origin:
            self.proofs.add(record, [item])

    def read(self, envelope: bytes, payload: bytes) -> tuple[Record, tuple[RecordHash, ...]]:
        """A sound record, and the erasers that prove its payload if that is a stand-in. Whatever
        is said of it: what an eraser proves is right, nothing else is. MalformedRecord."""
        decoded = decode_envelope(envelope)
        hash_ = RecordHash(record_digest(envelope))
        if (
            payload_digest(payload) == decoded.payload_hash
            or decoded.kind is Kind.ERASE
            or decoded.kind is Kind.JOIN
        ):
            return read_record(envelope, payload), ()
        try:
            hashes, erasures = self.proofs.of(hash_, decoded.context, payload)
        except MalformedUpdate as error:
            raise MalformedRecord(error.message) from None
        return read_record(envelope, payload, erasures=erasures), tuple(hashes)

    def _found(self, position: int, values: tuple[Value, ...]) -> Found | None:
        hash_, envelope, payload, flags = values[4:8]
        if type(envelope) is not bytes or type(payload) is not bytes or type(flags) is not int:
            return None
        try:
            record, erasers = self.read(envelope, payload)
        except MalformedRecord:
            return None
        return Found(position, record, erasers, record.hash == hash_)

    def items(self, found: Found) -> Iterator[SignatureItem]:
        """The signatures of which this record is the tip, verified."""
        public_key = self.public_keys.get(found.record.envelope.origin)
        if public_key is None:
            return
        for cell in self.signatures.get(found.position, ()):
            values = self.pages.values(cell)
            if values is None or type(values[1]) is not bytes:
                continue
            item = SignatureItem(public_key, found.record.hash, values[1])
            try:
                item.verify()
            except MalformedRecord:
                continue
            yield item
            return


def look_through(pages: Pages) -> Salvage:
    """One pass over every page."""
    salvage = Salvage(pages)
    for cell in pages.cells():
        types = cell.types
        if _is_record(types):
            salvage.rows.setdefault(cell.rowid, []).append(cell)
        elif types == (_NULL, _SIGNATURE):
            salvage.signatures.setdefault(cell.rowid, []).append(cell)
        elif _is_origin(types):
            _note_origin(salvage, cell)
        elif _is_context(types):
            _note_context(salvage, cell)
        elif _is_early(types):
            salvage.early.append(cell)
    return salvage


def _said_erased(values: tuple[Value, ...]) -> RecordHash | None:
    """The record of which this row says that it was erased, if it holds another payload."""
    _, envelope, payload, flags = values[4:8]
    if type(envelope) is not bytes or type(payload) is not bytes or type(flags) is not int:
        return None
    try:
        decoded = decode_envelope(envelope)
    except MalformedRecord:
        return None
    if not flags & ERASED or payload_digest(payload) == decoded.payload_hash:
        return None
    return RecordHash(record_digest(envelope))


def _is_eraser(values: tuple[Value, ...]) -> bool:
    envelope = values[5]
    try:
        return type(envelope) is bytes and decode_envelope(envelope).kind is Kind.ERASE
    except MalformedRecord:
        return False


def _note_origin(salvage: Salvage, cell: Cell) -> None:
    values = salvage.pages.values(cell)
    if values is None:
        return
    name, public_key, seed = values[1:4]
    assert type(name) is bytes
    if type(public_key) is bytes:
        salvage.public_keys[Incarnation(origin_digest(public_key))] = public_key
    if type(seed) is bytes:
        key = WriterKey(seed)
        # A seed that fits neither the name nor the key beside it is a damaged one.
        if key.incarnation == name or key.public_key == public_key:
            salvage.public_keys[key.incarnation] = key.public_key
            salvage.writers[key.incarnation] = key
    certificate = values[4] if len(values) > 4 else None
    if type(certificate) is bytes:
        # What stands beside it may be damaged; a certificate says itself whom it is for.
        names = {Incarnation(name)}
        if type(public_key) is bytes:
            names.add(Incarnation(origin_digest(public_key)))
        salvage.certificates.update(
            (incarnation, certificate)
            for incarnation in names
            if _certifies(certificate, incarnation)
        )


def _certifies(certificate: bytes, incarnation: Incarnation) -> bool:
    try:
        Certificate.unpack(certificate).verify(incarnation)
    except MalformedRecord:
        return False
    return True


def _note_context(salvage: Salvage, cell: Cell) -> None:
    values = salvage.pages.values(cell)
    if values is None:
        return
    name, frontier, records, position = values[1:5]
    assert type(name) is str
    assert type(frontier) is bytes
    assert type(records) is int
    assert type(position) is int
    salvage.tips.update(unpack(frontier))
    try:
        context_name(name)
    except InvalidName:
        return
    known = salvage.contexts.get(cell.rowid)
    # Of several versions of a row the newest counts.
    if 0 <= records <= position <= salvage.positions_max and (
        known is None or known.position <= position
    ):
        salvage.contexts[cell.rowid] = Known(name, records, position)


def _is_integer(type_: int) -> bool:
    return 1 <= type_ <= 6 or type_ in (8, 9)


def _is_blob(type_: int) -> bool:
    return type_ >= 12 and type_ % 2 == 0


def _is_record(types: tuple[int, ...]) -> bool:
    return (
        len(types) == 8
        and types[0] == _NULL
        and types[4] == _HASH
        and _is_blob(types[5])
        and _is_blob(types[6])
        and all(map(_is_integer, (types[1], types[2], types[3], types[7])))
    )


def _is_origin(types: tuple[int, ...]) -> bool:
    """With or without a certificate, which an earlier format has not."""
    return (
        len(types) in (4, 5)
        and types[:2] == (_NULL, _INCARNATION)
        and types[2] in (_NULL, _HASH)
        and types[3] in (_NULL, _HASH)
    )


def _is_context(types: tuple[int, ...]) -> bool:
    return (
        len(types) == 8
        and types[0] == _NULL
        and types[1] >= 13
        and types[1] % 2 == 1
        and _is_blob(types[2])
        and types[5] == _HLC
        and all(map(_is_integer, (types[3], types[4], types[6])))
        and _is_blob(types[7])
    )


def _is_early(types: tuple[int, ...]) -> bool:
    return (
        len(types) == 6
        and types[0] == types[4] == _HASH
        and types[1] >= 13
        and types[1] % 2 == 1
        and _is_blob(types[2])
        and _is_blob(types[3])
        and types[5] == _SIGNATURE
    )

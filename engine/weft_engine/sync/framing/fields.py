"""The fields that more than one message has: names, positions, interests, signatures.

Reading one raises MalformedFrame, which names what is wrong. Must never know: in which messages
they stand.
"""

from __future__ import annotations

from typing import Final

from weft_engine.errors import CallerError, InvalidName, MalformedFrame
from weft_engine.limits import (
    CONTEXT_NAME_BYTES_MAX,
    INTEREST_CONTEXTS_MAX,
    INTEREST_PREFIXES_MAX,
    POSITIONS_PER_ACK_MAX,
    REGION_NAME_BYTES_MAX,
)
from weft_engine.names import ContextName, Position, RecordHash, context_name, region_name
from weft_engine.records.certificate import Certificate
from weft_engine.records.erasure import Eraser
from weft_engine.records.identity import SignatureItem
from weft_engine.sync.framing.wire import Reader
from weft_engine.sync.interest import Interest

POSITION_MAX: Final = 2**63 - 1


def read_now_ms(reader: Reader) -> int:
    return reader.uint("now_ms", most=(1 << 48) - 1)


def read_serial(reader: Reader) -> int:
    return reader.uint("serial", least=1)


def read_position(reader: Reader) -> Position:
    return Position(reader.uint("position", most=POSITION_MAX))


def read_positions(reader: Reader) -> tuple[tuple[str, Position], ...]:
    regions: list[tuple[str, Position]] = []
    count = reader.array("regions", count_max=POSITIONS_PER_ACK_MAX, item_bytes=4)
    for _ in range(count):
        reader.array("a region's position", count_min=2, count_max=2)
        regions.append((read_region(reader), read_position(reader)))
    return tuple(regions)


def read_context(reader: Reader) -> ContextName:
    try:
        return context_name(reader.text("context", bytes_max=CONTEXT_NAME_BYTES_MAX))
    except InvalidName as error:
        raise MalformedFrame(f"a context has no valid name: {error.message}") from None


def read_region(reader: Reader) -> str:
    try:
        return region_name(reader.text("region", bytes_max=REGION_NAME_BYTES_MAX))
    except InvalidName as error:
        raise MalformedFrame(f"a region has no valid name: {error.message}") from None


def interest_fields(interest: Interest) -> tuple[list[ContextName], tuple[str, ...]]:
    """An interest as it stands in a message: contexts in order, prefixes."""
    return sorted(interest.contexts), interest.prefixes


def read_interest(reader: Reader, whose: str) -> Interest:
    """`whose`: the message that has it, as errors call it."""
    contexts = _texts(reader, "contexts", INTEREST_CONTEXTS_MAX)
    prefixes = _texts(reader, "prefixes", INTEREST_PREFIXES_MAX)
    try:
        interest = Interest.of(contexts=contexts, prefixes=prefixes)
    except CallerError as error:
        raise MalformedFrame(f"{whose}'s interest is none: {error.message}") from None
    if sorted(interest.contexts) != contexts or list(interest.prefixes) != prefixes:
        raise MalformedFrame(f"{whose}'s interest names something twice or out of order")
    return interest


def item_fields(item: SignatureItem) -> tuple[bytes, ...]:
    """A signature as it stands in a message."""
    fields = (item.public_key, item.tip, item.signature)
    certificate = item.certificate
    return fields if certificate is None else (*fields, certificate.region, certificate.signature)


def read_item(reader: Reader) -> SignatureItem:
    count = reader.array("an item", count_min=3, count_max=5)
    if count == 4:
        raise MalformedFrame("an item has 4 items, it must have 3, or 5 with a certificate")
    key = reader.blob("public key", size_min=32, size_max=32)
    tip = RecordHash(reader.blob("tip", size_min=32, size_max=32))
    signature = reader.blob("signature", size_min=64, size_max=64)
    if count == 3:
        return SignatureItem(key, tip, signature)
    region = reader.blob("region key", size_min=32, size_max=32)
    by_region = reader.blob("region signature", size_min=64, size_max=64)
    return SignatureItem(key, tip, signature, Certificate(region, by_region))


def eraser_fields(eraser: Eraser) -> tuple[bytes, bytes, tuple[bytes, ...]]:
    """An eraser as it stands in a message."""
    return (eraser.record.envelope_bytes, eraser.record.payload, bare_fields(eraser.item))


def bare_fields(item: SignatureItem) -> tuple[bytes, ...]:
    """A signature without its certificate."""
    return (item.public_key, item.tip, item.signature)


def _texts(reader: Reader, what: str, count_max: int) -> list[str]:
    count = reader.array(what, count_max=count_max)
    return [reader.text(f"one of {what}", bytes_max=CONTEXT_NAME_BYTES_MAX) for _ in range(count)]

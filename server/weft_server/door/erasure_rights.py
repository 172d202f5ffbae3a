"""Who may erase: everybody what is his own, a bearer of the right `admin` anything.

Asked where a record comes in from outside. What is journaled somewhere is never asked about again,
so a link between relays, whose token has the right `peer`, carries every erasure. Must never know:
links, tokens.
"""

from __future__ import annotations

from weft_engine.errors import LinkRefused
from weft_engine.records.envelope import Kind
from weft_engine.records.erasure import decode_erasure
from weft_engine.sync.driving.inspection import Inspected


def refuse_foreign_erasures(offered: Inspected) -> None:
    """LinkRefused if one of these sound records, or of the erasers that came beside stand-ins,
    erases what its writer has not written: a stand-in takes the place of what it stands for."""
    beside = (eraser.record for erasers in offered.proofs.values() for eraser in erasers)
    for record in (*offered.records, *beside):
        if record.envelope.kind is not Kind.ERASE:
            continue
        erasure = decode_erasure(record.payload, record.envelope.origin)
        if erasure.is_by_author(record.envelope.origin):
            continue
        if erasure.events:
            what = "events of others"
        else:
            what = "the whole context" if erasure.note is None else f"note {erasure.note!r}"
        raise LinkRefused(
            f"record {record.hash.hex()[:16]} of context {record.envelope.context!r} erases {what},"
            " for which the token needs the right admin",
            hint="link with a token that has it, or let those who wrote the events erase them",
        )

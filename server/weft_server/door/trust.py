"""Whose foreign records a relay takes from clients.

Whether a certificate is sound is said by its bytes and the same everywhere; whom to trust is a
setting of one relay, so it is asked only where a client, not another relay, offers a record.
Must never know: links, tokens.
"""

from __future__ import annotations

from collections.abc import Set

from weft_engine.errors import LinkRefused
from weft_engine.records.envelope import Kind
from weft_engine.sync.driving.inspection import Inspected


def check_regions(trusted: Set[bytes], offered: Inspected) -> None:
    """LinkRefused if one of the records is foreign and its writer certified by none of the regions
    with these public keys."""
    foreign = {r.envelope.origin: r for r in offered.records if r.envelope.kind is Kind.FOREIGN}
    if not foreign:
        return
    regions = {
        item.incarnation: item.certificate.region
        for item in offered.items
        if item.certificate is not None and item.certificate.region in trusted
    }
    for origin, record in foreign.items():
        if origin not in regions:
            raise LinkRefused(
                f"record {record.hash.hex()[:16]} of context {record.envelope.context!r} is marked"
                f" foreign by {_region_of(offered, origin)}, which this relay does not trust",
                hint="the relay's owner may add --trust-region with that key",
            )


def _region_of(offered: Inspected, origin: bytes) -> str:
    for item in offered.items:
        if item.certificate is not None and item.incarnation == origin:
            return f"the region with key {item.certificate.region.hex()}"
    return "no region"

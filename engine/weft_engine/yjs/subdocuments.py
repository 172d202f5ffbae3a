"""Documents inside a document, which a Yjs client may set anywhere: where they stand, and how they
are taken out again.

One that was put into a document of yrs holds that document, which holds it: neither is ever freed.
Whoever throws a document away takes them out before. Must never know: documents, records.
"""

from __future__ import annotations

from collections.abc import Iterable

from weft_engine.names import ClientId
from weft_engine.yjs.lib0 import var_uint
from weft_engine.yjs.update import Id, Kind, Update


def subdocuments(update: Update) -> list[Id]:
    """Where those stand that an update brings."""
    doc = Kind.DOC
    return [(struct.client, struct.clock) for struct in update.structs if struct.kind is doc]


def taking_out(ids: Iterable[Id]) -> bytes:
    """An update that deletes what stands there."""
    clocks: dict[ClientId, list[int]] = {}
    for client, clock in sorted(set(ids)):
        clocks.setdefault(client, []).append(clock)
    pieces = [b"\x00", var_uint(len(clocks))]
    for client, of_client in clocks.items():
        pieces += (var_uint(client), var_uint(len(of_client)))
        pieces += (var_uint(clock) + b"\x01" for clock in of_client)
    return b"".join(pieces)

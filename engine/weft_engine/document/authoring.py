"""What a relay writes down of an update that a Yjs client has sent.

A client sends the same again whenever it comes back, and with it every delete it ever heard of. So
what changed nothing is not written, and of the rest what changed, as the document tells it; but a
document tells only what is left in the end. An event stands in the bytes that were sent, even if
its key was overwritten in the same breath. Only an erased event is no reason to write it as sent:
the record would be blank, and what is new in it gone. Must never know: documents, records.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Container

from weft_engine.errors import MalformedUpdate
from weft_engine.events.candidate import candidates
from weft_engine.names import ClientId
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.update import Id, Kind, Update

_EMPTY = frozenset({Kind.GC, Kind.DELETED, Kind.SKIP})


def candidate_ids(update: Update, erased: Container[str] = ()) -> list[Id]:
    """Where the candidates of an update stand, but for those of `erased` events."""
    return [(found.client, found.clock) for found in candidates(update) if found.key not in erased]


def changed(sent: bytes, update: Update, delta: bytes, erased: Container[str] = ()) -> bytes:
    """The payload for an update that changed its document by `delta`."""
    if delta == sent:
        return sent
    try:
        emitted = read_update(delta)
    except MalformedUpdate:
        return sent  # What was sent is sound.
    same = sorted(candidate_ids(update, erased)) == sorted(candidate_ids(emitted, erased))
    return delta if same and _keeps_content(update, emitted) else sent


def unchanged(
    sent: bytes, update: Update, held: Collection[Id], erased: Container[str] = ()
) -> bytes | None:
    """The payload for one that changed nothing; None if nothing is to be written. `held` are the
    candidates of every record."""
    return None if all(one in held for one in candidate_ids(update, erased)) else sent


def _keeps_content(update: Update, emitted: Update) -> bool:
    """Whether no struct has lost what it held."""
    empty: dict[ClientId, list[tuple[int, int]]] = {}
    for struct in emitted.structs:
        if struct.kind in _EMPTY:
            end = struct.clock + struct.length
            empty.setdefault(struct.client, []).append((struct.clock, end))
    if not empty:
        return True
    for struct in update.structs:
        spans = empty.get(struct.client)
        if spans is None or struct.kind in _EMPTY:
            continue
        place = bisect_right(spans, (struct.clock + struct.length - 1, 1 << 62)) - 1
        if place >= 0 and spans[place][1] > struct.clock:
            return False
    return True

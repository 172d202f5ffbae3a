"""What a Yjs client may change, by its token: everything, events and streams only, or nothing.

A client answers step 1 with every delete it ever heard of, whoever made it; so of a step 2 only
what it brings counts. Must never know: tokens, connections.
"""

from __future__ import annotations

from typing import Final

from weft_engine.document.offered import Offered
from weft_engine.errors import LinkRefused
from weft_engine.replica.live import LiveDocument
from weft_engine.yjs.encoder import EVENTS_ROOT, STREAMS_ROOT
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.update import Kind, Struct
from weft_server.door.permission import Permission

_BARE: Final = frozenset({Kind.GC, Kind.SKIP})


def permitted(
    may: Permission, offered: Offered, live: LiveDocument, *, is_step2: bool
) -> Offered | None:
    """What of the update may be taken, None for nothing. LinkRefused if it may not be offered."""
    if may.may_append and may.may_edit:
        return offered
    if is_step2 and not live.brings_structs(offered):
        return None
    if not may.may_append:
        raise LinkRefused(
            "the token may read only, and the client has changed the document",
            hint="ask for a token with the right append or write",
        )
    return _appends(offered, live, is_step2=is_step2)


def _appends(offered: Offered, live: LiveDocument, *, is_step2: bool) -> Offered:
    deletes = False
    for data in offered.slices:
        update = read_update(data)
        if not all(_is_append(struct) for struct in update.structs):
            raise LinkRefused(
                "the token may append events only, and the client has changed something else",
                hint="ask for a token with the right write",
            )
        if live.sets_again(update):
            raise LinkRefused(
                "the token may append events only, and the client has set one that is there",
                hint="ask for a token with the right write",
            )
        deletes = deletes or bool(update.deletes)
    if not deletes:
        return offered
    if not is_step2:
        raise LinkRefused("the token may append events only, and the client has deleted something")
    return offered.without_deletes()


def _is_append(struct: Struct) -> bool:
    return struct.kind in _BARE or (
        struct.key is not None and struct.parent in (EVENTS_ROOT, STREAMS_ROOT)
    )

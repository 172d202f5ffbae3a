"""The door for records of others: limits, the reader, and for what is not plain, a trial document.

Whether a record is refused follows from its bytes alone. So the trial is made on an empty document
that is thrown away, never on one of ours, and pycrdt is pinned exactly. Appends of events say
nothing that the reader has not proved safe: they pass without one, and without loading pycrdt.

No stack of its own is needed for it: what the reader lets through nests at most 64 types, 64
values and 64 brackets of JSON deep, and pycrdt applies and drops that on a stack of 64 KiB.
Must never know: contexts, storage, links.
"""

from __future__ import annotations

from collections.abc import Sequence

from weft_engine.errors import MalformedRecord
from weft_engine.records.envelope import Record
from weft_engine.records.erasure import Erasure
from weft_engine.records.sound import read_with_update
from weft_engine.yjs.encoder import EVENTS_ROOT, STREAMS_ROOT
from weft_engine.yjs.subdocuments import subdocuments
from weft_engine.yjs.update import Kind as StructKind
from weft_engine.yjs.update import Update


def let_in(envelope: bytes, payload: bytes, *, erasures: Sequence[Erasure] = ()) -> Record:
    """The record in these bytes, sound and tried; MalformedRecord with what is wrong with it. Its
    payload may be a stand-in that one of `erasures`, which are of its context, gives."""
    record, update = read_with_update(envelope, payload, erasures=erasures)
    if update is not None and not is_plain(update):
        try_out(record, update)
    return record


def is_plain(update: Update) -> bool:
    """Whether it does nothing but set keys of the roots `events` and `streams` to one string
    each."""
    return not update.deletes and all(
        struct.key is not None
        and struct.parent in (EVENTS_ROOT, STREAMS_ROOT)
        and struct.kind is StructKind.ANY
        and struct.content is not None
        for struct in update.structs
    )


def try_out(record: Record, update: Update) -> None:
    """MalformedRecord if an empty document can't take in the payload, which says `update`. It is
    made, used and dropped on the calling thread, as pycrdt demands."""
    from weft_engine.document.document import Document, is_panic  # pycrdt is loaded for this only
    from weft_engine.names import ClientId

    document = Document(ClientId(0))
    document.expect(subdocuments(update))
    try:
        document.apply(record.payload)
        document.encoded()
    except BaseException as error:
        if not is_panic(error):
            raise
        # Its traceback holds the document, which must be dropped here and now.
        what = " ".join(str(error).split())[:200]
        del document
        raise MalformedRecord(
            f"record {record.hash.hex()[:16]} of context {record.envelope.context!r} is refused:"
            f" no document can take its payload in: {what}"
        ) from None

"""What a Yjs client offers, read and tried before a document of ours or the journal sees it.

Limits first, then the reader, then a document that is thrown away, slice by slice: a slice that
takes far longer than honest ones do is where an update is refused that would hold up everybody.
Must be called and ended on one thread. Must never know: contexts, storage, who offers it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from weft_engine.document.door import is_plain
from weft_engine.errors import MalformedUpdate
from weft_engine.limits import (
    FOREIGN_PAYLOAD_BYTES_MAX,
    WOVEN_STRUCTS_MAX,
    YJS_BYTE_S,
    YJS_INLINE_BYTES,
    YJS_SLICE_S_MAX,
    YJS_SLICE_STRUCTS,
    YJS_SLICE_WOVEN,
    YJS_TRIAL_S_MAX,
)
from weft_engine.names import ClientId
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.splitting import split, without_deletes
from weft_engine.yjs.subdocuments import subdocuments
from weft_engine.yjs.update import Id, Update

_RECORD_STRUCTS = 65_536
_NOTHING = b"\x00\x00"
"""An update without structs and deletes."""


@dataclass(frozen=True, slots=True)
class Offered:
    """`records`: payloads that say what was sent, each sound on its own, in causal order.
    `slices`: the same for a document, in small bites. `update`: what it says, if that is small."""

    sent: bytes
    records: tuple[bytes, ...]
    slices: tuple[bytes, ...]
    update: Update | None

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing: what a client sends that has nothing new."""
        return self.update is not None and not self.update.structs and not self.update.deletes

    def without_deletes(self) -> Offered:
        """The structs alone."""
        if self.update is None:
            return replace(self, records=_structs(self.records), slices=_structs(self.slices))
        sent = without_deletes(self.sent)
        update = replace(self.update, deletes=())
        return Offered(sent, (sent,), (sent,), update)


def read_offered(data: bytes, cpu_s: Callable[[], float]) -> Offered:
    """What `data` offers; MalformedUpdate if it is unsound, above the limits, or costs too much.
    `cpu_s` tells the seconds of the processor that this thread has had."""
    if len(data) > FOREIGN_PAYLOAD_BYTES_MAX:
        raise MalformedUpdate(f"an update of {len(data)} bytes exceeds {FOREIGN_PAYLOAD_BYTES_MAX}")
    if len(data) <= YJS_INLINE_BYTES:
        offered = Offered(data, (data,), (data,), read_update(data))
    else:
        slices = split(data, structs_max=YJS_SLICE_STRUCTS, woven_max=YJS_SLICE_WOVEN)
        if len(slices) == 1:
            offered = Offered(data, (data,), (data,), read_update(data))
        else:
            records = split(data, structs_max=_RECORD_STRUCTS, woven_max=WOVEN_STRUCTS_MAX)
            inner = [one for record in records for one in subdocuments(read_update(record))]
            offered = Offered(data, tuple(records), tuple(slices), None)
            _try_out(offered, inner, cpu_s)
            return offered
    assert offered.update is not None, "only what is sliced is not read as one"
    if not is_plain(offered.update):
        _try_out(offered, subdocuments(offered.update), cpu_s)
    return offered


def _structs(updates: Sequence[bytes]) -> tuple[bytes, ...]:
    bare = (without_deletes(one) for one in updates)
    return tuple(one for one in bare if one != _NOTHING)


def _try_out(offered: Offered, inner: Sequence[Id], cpu_s: Callable[[], float]) -> None:
    from weft_engine.document.document import Document, is_panic  # pycrdt is loaded for this only

    document = Document(ClientId(0))
    document.expect(inner)
    began_s = last_s = cpu_s()
    size = 0
    try:
        for data in offered.slices:
            document.apply(data)
            size += len(data)
            now_s = cpu_s()
            slice_s, all_s, last_s = now_s - last_s, now_s - began_s, now_s
            if (
                slice_s > YJS_SLICE_S_MAX + len(data) * YJS_BYTE_S
                or all_s > YJS_TRIAL_S_MAX + size * YJS_BYTE_S
            ):
                break
        else:
            return
    except BaseException as error:
        if not is_panic(error):
            raise
        # Its traceback holds the document, which must be dropped here and now.
        what = " ".join(str(error).split())[:200]
        del document
        raise MalformedUpdate(f"no document can take the update in: {what}") from None
    raise MalformedUpdate(
        f"its structs stand in each other's way: {size} of {len(offered.sent)} bytes of it took a"
        f" document {all_s:.2f} s, the last part {slice_s:.2f} s"
    )

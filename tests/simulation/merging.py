"""All that records say, merged into one update before a document sees any of it.

A blank repeats clocks that came before it, with nothing in them, when a Yjs client had said again
what was erased and more. A document in journal order has those already and passes over them;
`merge_updates` knows no order and may take the nothing instead of the words. So of a blank only
those clocks are merged that no record before it gave out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pycrdt

from weft_engine.names import ClientId
from weft_engine.records.envelope import Record
from weft_engine.yjs.lib0 import var_uint
from weft_engine.yjs.stand_in import Anatomy
from weft_engine.yjs.update import Kind, ranges


def merged(records: Iterable[Record]) -> bytes:
    """Of records of updates, in journal order."""
    known: dict[ClientId, int] = {}
    payloads: list[bytes] = []
    for record in records:
        anatomy = Anatomy.of(record.payload)
        given = ranges(anatomy.update)
        is_blank = record.is_erased and record.payload == anatomy.blank()
        payloads.append(_beyond(known, given) if is_blank else record.payload)
        for client, spans in given.items():
            for start, end in spans:
                if start <= known.get(client, 0):
                    known[client] = max(end, known.get(client, 0))
    return pycrdt.merge_updates(*payloads)


def _beyond(
    known: Mapping[ClientId, int], given: Mapping[ClientId, tuple[tuple[int, int], ...]]
) -> bytes:
    """A blank of what is given and not known."""
    sections: list[bytes] = []
    for client, spans in given.items():
        runs: list[tuple[Kind, int]] = []
        first = at = max(spans[0][0], known.get(client, 0))
        for start, end in spans:
            if end <= at:
                continue
            if start > at:
                runs.append((Kind.SKIP, start - at))
            at = max(start, at)
            runs.append((Kind.GC, end - at))
            at = end
        if runs:
            sections.append(
                var_uint(len(runs)) + var_uint(client) + var_uint(first)
                + b"".join(bytes((kind.value,)) + var_uint(length) for kind, length in runs)
            )  # fmt: skip
    return var_uint(len(sections)) + b"".join(sections) + b"\x00"

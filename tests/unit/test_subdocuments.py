"""Documents inside documents: what is thrown away with them is freed."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import pycrdt
import pytest

from tests.hostile.looking import MIB, rss_bytes
from tests.unit.yjs_bytes import update_of
from weft_engine.document.assembly import Assembly
from weft_engine.document.document import Document, is_panic
from weft_engine.document.offered import read_offered
from weft_engine.names import ClientId
from weft_engine.yjs.lib0 import var_uint
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.subdocuments import subdocuments, taking_out

COUNT = 20
GROWN_MIB_MAX = 8
"""A fourth of what so many documents hold that are not freed."""


def subdocument(client: int) -> bytes:
    """An update that sets a document as `k` of the root `t`."""
    document: pycrdt.Doc[pycrdt.Map[Any]] = pycrdt.Doc(client_id=client)
    document.get("t", type=pycrdt.Map)["k"] = pycrdt.Doc()
    return bytes(document.get_update())


def large() -> bytes:
    document: pycrdt.Doc[pycrdt.Map[str]] = pycrdt.Doc(client_id=77)
    root = document.get("t", type=pycrdt.Map)
    with document.transaction():
        for number in range(5000):
            root[f"key {number}"] = "x" * 100
    return bytes(document.get_update())


def test_where_they_stand_and_how_they_are_taken_out() -> None:
    found = [*subdocuments(read_update(subdocument(9))), *subdocuments(read_update(subdocument(5)))]
    assert found == [(9, 0), (5, 0)]
    update = read_update(taking_out([*found, (ClientId(5), 3), found[0]]))
    assert not update.structs
    assert update.deletes == ((5, 0, 1), (5, 3, 1), (9, 0, 1))
    assert not subdocuments(read_update(large()))


@pytest.mark.parametrize("is_poisoned", [False, True])
def test_a_document_that_holds_one_is_freed(is_poisoned: bool) -> None:
    state, inner = large(), subdocument(9)
    # Its parent is no type.
    wrong = update_of(b"\x04\x00" + var_uint(9) + b"\x00\x01y", client=6)

    def make() -> None:
        assembly = Assembly(partial(Document, ClientId(0)), is_panic)
        for data in (state, inner):
            assembly.offer(data, read_update(data), assembly.document.apply)
        assert not assembly.is_plain, "a checkpoint would not say what it holds"
        if is_poisoned:
            with pytest.raises(RuntimeError):
                assembly.document.apply(wrong)

    assert grown_mib(make) < GROWN_MIB_MAX


def test_what_an_update_with_one_was_tried_on_is_freed() -> None:
    document: pycrdt.Doc[pycrdt.Map[str]] = pycrdt.Doc(client_id=78)
    for data in (large(), subdocument(9)):
        document.apply_update(data)
    sent = bytes(document.get_update())
    assert grown_mib(lambda: read_offered(sent, lambda: 0.0)) < GROWN_MIB_MAX


def grown_mib(make: Callable[[], object]) -> float:
    """What stays in memory of what is made again and again."""
    for _ in range(3):
        make()
    gc.collect()
    before = rss_bytes(os.getpid())
    for _ in range(COUNT):
        make()
    gc.collect()
    return (rss_bytes(os.getpid()) - before) / MIB

"""What of an update can be taken in: all that does not wait, and nothing that does."""

from __future__ import annotations

import random
from typing import Any

import pycrdt
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_yjs_splitting import ends, world
from tests.unit.yjs_bytes import in_root, string, update_of
from weft_engine.document.waiting import needs
from weft_engine.names import ClientId
from weft_engine.yjs.lib0 import var_uint
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.ready import ready_part
from weft_engine.yjs.splitting import split
from weft_engine.yjs.update import Kind, Update, references


def known_by(document: pycrdt.Doc[Any]) -> dict[ClientId, int]:
    return {ClientId(client): end for client, end in ends(document).items()}


def taken(
    update: Update, known: dict[ClientId, int], withheld: set[ClientId]
) -> dict[ClientId, int]:
    """By trying all structs again and again: where each client's clocks end."""
    found = dict(known)
    has_changed = True
    while has_changed:
        has_changed = False
        for struct in update.structs:
            end = struct.clock + struct.length
            at = found.get(struct.client, 0)
            ids = references(Update((struct,), (), 0))
            if (
                struct.clock <= at < end
                and struct.kind is not Kind.SKIP
                and struct.client not in withheld
                and all(clock < found.get(client, 0) for client, clock in ids)
            ):
                found[struct.client] = end
                has_changed = True
    return found


@given(st.integers(0, 10**9), st.integers(1, 6), st.data())
def test_all_is_taken_that_lacks_nothing(seed: int, structs: int, data: st.DataObject) -> None:
    whole = world(seed)
    parts = split(whole.get_update(), structs_max=structs, woven_max=structs)
    document: pycrdt.Doc[Any] = pycrdt.Doc()
    for part in parts[: data.draw(st.integers(0, len(parts)))]:
        document.apply_update(part)
    known = known_by(document)
    kept = data.draw(st.lists(st.sampled_from(parts), min_size=1, unique=True))
    sent = pycrdt.merge_updates(*sorted(kept, key=parts.index))
    withheld = {ClientId(client) for client in data.draw(st.sets(st.sampled_from((3, 5, 9))))}
    found = ready_part(sent, known, withheld)
    update = read_update(found.data)
    assert all(known.get(client, 0) >= end for client, end in needs(update).items())
    document.apply_update(found.data)
    assert ends(document) == taken(read_update(sent), known, withheld)
    # What is left lacks just that, and does so as long as nothing has come.
    now = known_by(document)
    assert all(now.get(client, 0) < end for client, end in found.lacks.items())
    again = ready_part(sent, now, withheld)
    assert (again.lacks, again.left) == (found.lacks, found.left)


def test_what_came_behind_a_gap_is_left_and_the_rest_is_taken() -> None:
    """As a tab says it that was told the second letter of another one, never the first."""
    waiting = b"\x01\x05\x01" + b"\x84\x05\x00" + string("b")
    own = b"\x01\x07\x00" + in_root(4, string("mine"))
    sent = b"\x02" + waiting + own + b"\x02\x05\x01\x00\x01\x07\x01\x02\x01"
    found = ready_part(sent, {})
    assert found.data == b"\x01" + own + b"\x01\x07\x01\x02\x01"
    assert (found.lacks, found.left) == ({5: 1}, 1)
    assert ready_part(sent, {ClientId(5): 1}).data == sent


def test_chains_across_many_clients_are_followed_in_any_order() -> None:
    count = 3000
    rng = random.Random(7)
    order = list(range(1, count))
    rng.shuffle(order)
    sections = [
        b"\x01" + var_uint(n) + b"\x00" + b"\x84" + var_uint(n - 1) + b"\x00" + string("x")
        for n in order
    ]
    sent = var_uint(count - 1) + b"".join(sections) + b"\x00"
    assert ready_part(sent, {ClientId(0): 1}).data == sent
    none = ready_part(sent, {})
    assert (none.data, none.left) == (b"\x00\x00", count - 1)
    assert none.lacks[ClientId(0)] == 1


def test_of_who_is_withheld_only_what_is_known_is_taken() -> None:
    sent = update_of(in_root(4, string("ab")), b"\x84\x09\x01" + string("c"), client=9)
    assert ready_part(sent, {ClientId(9): 2}, {ClientId(9)}).lacks == {9: 3}
    assert ready_part(sent, {ClientId(9): 2}, {ClientId(9)}).left == 1
    assert ready_part(sent, {ClientId(9): 3}, {ClientId(9)}).data == sent

"""Stand-ins against real Yjs documents: what was written after and beside them keeps its place."""

from __future__ import annotations

import random

import pycrdt
import pytest

from weft_engine.yjs.belonging import Belonging
from weft_engine.yjs.stand_in import Anatomy


def edits(seed: int) -> tuple[list[bytes], str]:
    """Updates of two writers in a note to be erased and one to be kept, and what the latter says
    in the end. Some edits of the first note overlap and delete one another."""
    rng = random.Random(seed)
    docs = [pycrdt.Doc(client_id=n) for n in (1, 2)]  # type: ignore[var-annotated]
    updates: list[bytes] = []
    for _ in range(40):
        here, there = rng.sample(docs, 2)
        name = rng.choice(["note:a", "note:b"])
        before = here.get_state()
        text = here.get(name, type=pycrdt.Text)
        at = rng.randint(0, len(str(text)))
        with here.transaction():
            if rng.random() < 0.3 and len(str(text)) > at:
                del text[at : rng.randint(at, len(str(text)))]
            text.insert(at, ("SECRET" if name == "note:a" else "kept") + str(rng.randrange(9)))
        update = here.get_update(before)
        updates.append(update)
        there.apply_update(update)
    return updates, str(docs[0].get("note:b", type=pycrdt.Text))


@pytest.mark.parametrize("seed", range(30))
def test_a_note_is_taken_out_of_a_document_and_all_else_stays(seed: int) -> None:
    updates, kept = edits(seed)
    belonging = Belonging("note:a")
    replaced = []
    for update in updates:
        anatomy = Anatomy.of(update)
        stand_in = anatomy.without(belonging.take(anatomy.update))
        assert b"SECRET" not in stand_in
        again = Anatomy.of(stand_in)
        assert [s.length for s in again.update.structs] == [
            s.length for s in anatomy.update.structs
        ]
        assert again.update.deletes == anatomy.update.deletes
        assert again.blank() == anatomy.blank() == Anatomy.of(anatomy.blank()).blank()
        replaced.append(stand_in)
    doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc(client_id=3)
    for stand_in in replaced:
        doc.apply_update(stand_in)
    assert str(doc.get("note:a", type=pycrdt.Text)) == ""
    assert str(doc.get("note:b", type=pycrdt.Text)) == kept
    doc.get("note:a", type=pycrdt.Text).insert(0, "anew")
    assert str(doc.get("note:a", type=pycrdt.Text)) == "anew"


@pytest.mark.parametrize("seed", range(10))
def test_text_anchored_in_what_is_gone_stays(seed: int) -> None:
    """The one who erases has not heard of the last edits: they were made inside of that text."""
    updates, _ = edits(seed)
    doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc(client_id=7)
    for update in updates:
        doc.apply_update(update)
    text = doc.get("note:a", type=pycrdt.Text)
    before = doc.get_state()
    text.insert(len(str(text)) // 2, "[beside]")
    late = doc.get_update(before)
    belonging = Belonging("note:a")
    other: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc(client_id=8)
    for update in updates:
        anatomy = Anatomy.of(update)
        other.apply_update(anatomy.without(belonging.take(anatomy.update)))
    other.apply_update(late)
    assert str(other.get("note:a", type=pycrdt.Text)) == "[beside]"


@pytest.mark.parametrize("seed", range(10))
def test_a_document_of_blanks_takes_what_comes_after(seed: int) -> None:
    updates, _ = edits(seed)
    doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc(client_id=9)
    for update in updates:
        blank = Anatomy.of(update).blank()
        assert b"kept" not in blank
        doc.apply_update(blank)
    assert str(doc.get("note:b", type=pycrdt.Text)) == ""
    doc.get("note:b", type=pycrdt.Text).insert(0, "anew")
    assert str(doc.get("note:b", type=pycrdt.Text)) == "anew"

"""Each mutant can still be made of the engine as it is, and the test that is named for it is there.
Whether it is noticed takes long: ``make mutants``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.breaking import Mutant, take_back
from tests.simulation.mutant_list import MUTANTS

_ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    take_back()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_can_be_made(mutant: Mutant) -> None:
    if mutant.break_it is not None:
        mutant.break_it()
    if mutant.test is not None:
        path, _, test = mutant.test.partition("[")[0].partition("::")
        assert f"def {test}(" in (_ROOT / path).read_text() or not test


def test_their_names_tell_them_apart() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)

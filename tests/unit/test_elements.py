"""A shrinking set of elements is what a set of pairs would be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from weft_engine.names import ClientId
from weft_server.elements import Elements

ranges = st.lists(
    st.tuples(st.integers(0, 2).map(ClientId), st.integers(0, 30), st.integers(1, 10)), max_size=12
)


@given(ranges, ranges)
def test_it_shrinks_as_a_set_does(
    given_: list[tuple[ClientId, int, int]], taken: list[tuple[ClientId, int, int]]
) -> None:
    elements = Elements(given_)
    expected = {(c, n) for c, first, length in given_ for n in range(first, first + length)}
    for client, first, length in taken:
        elements.take(client, first, first + length)
        expected -= {(client, n) for n in range(first, first + length)}
        assert bool(elements) == bool(expected)
        for one in range(3):
            assert elements.has_of(ClientId(one)) == any(c == one for c, _ in expected)
    left = {(c, n) for c, some in elements._ranges.items() for a, b in some for n in range(a, b)}
    assert left == expected

"""A token comes in a header, in a query parameter or as a subprotocol."""

from __future__ import annotations

import pytest

from weft_server.door.bearing import bearer, token_of


@pytest.mark.parametrize(
    ("headers", "query", "subprotocols", "found"),
    [
        ({}, {}, [], (None, None)),
        ({"authorization": "Bearer a.b.c"}, {}, [], ("a.b.c", None)),
        ({"authorization": "bearer  a.b.c "}, {}, [], ("a.b.c", None)),
        ({"authorization": "Basic YTpi"}, {"token": "a"}, [], ("a", None)),
        ({"authorization": "Bearer a"}, {"token": "b"}, ["yauth-c"], ("a", "yauth-c")),
        ({}, {"token": "b", "auth": "d"}, ["yauth-c"], ("b", "yauth-c")),
        ({}, {"token": "", "auth": "d"}, [], ("d", None)),
        ({}, {}, ["chat", "yauth-c", "yauth-d"], ("c", "yauth-c")),
        ({}, {}, ["yauth-"], (None, "yauth-")),
        ({}, {}, ["chat"], (None, None)),
    ],
)
def test_where_a_token_may_stand(
    headers: dict[str, str],
    query: dict[str, str],
    subprotocols: list[str],
    found: tuple[str | None, str | None],
) -> None:
    assert token_of(headers, query, subprotocols) == found


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Bearera.b.c", "a.b.c"])
def test_a_header_that_bears_no_token(header: str) -> None:
    assert bearer(header) is None

"""What a process of ours said last, for the error of whoever has started it."""

from __future__ import annotations

import pytest

from weft_server.local_mesh.process import last_error


@pytest.mark.parametrize(
    ("said", "message", "hint"),
    [
        (b"weft: the port is taken\nhint: choose another\n", "the port is taken", "choose another"),
        (b"region eu listens\nweft: no\nroom\nhint: make\nroom", "no room", "make room"),
        (b"weft: an earlier one\nhint: x\nweft: the last", "the last", ""),
        (b"Traceback:\n  odd", "Traceback: odd", ""),
        (b"", "it said nothing", ""),
    ],
)
def test_the_last_error_in_one_line(said: bytes, message: str, hint: str) -> None:
    assert last_error(said) == (message, hint)

"""Addresses of relays as people write them, and why one is not reached, in words."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest

from weft_engine.errors import CallerError
from weft_engine.sync.binding import sync_url, why_unreachable


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("http://relay.example:7300", "ws://relay.example:7300"),
        ("https://relay.example", "wss://relay.example"),
        ("127.0.0.1:7300", "ws://127.0.0.1:7300"),
        ("ftp://relay.example", "ws://host:port or wss://host"),
        ("", "ws://host:port or wss://host"),
        ("http://", "ws://host:port or wss://host"),
    ],
)
def test_another_scheme_is_refused_and_the_address_that_was_meant_told(
    written: str, meant: str
) -> None:
    with pytest.raises(CallerError) as refused:
        sync_url(written)
    assert refused.value.hint == f"write {meant}"


def test_why_an_address_is_not_reached_is_said_in_words() -> None:
    refused = ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 9)")
    assert why_unreachable(refused) == "nobody listens there"
    plain = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)")
    plain.reason = "WRONG_VERSION_NUMBER"
    assert "begins with ws://" in why_unreachable(plain)
    unknown = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    assert why_unreachable(unknown) == "Name or service not known"
    assert why_unreachable(TimeoutError("timed out during opening handshake")).startswith("timed")

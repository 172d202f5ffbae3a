"""How a link lies on a websocket: its address, who may open it, how it closes. docs/PROTOCOL.md.

Facts that both ends share. Must never know: sockets, websocket libraries.
"""

from __future__ import annotations

import errno
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from weft_engine.errors import CallerError
from weft_engine.sync.framing.messages import ByeCode

SYNC_PATH: Final = "/v1/sync"
CLOSE_REASON_BYTES_MAX: Final = 123
"""What a websocket close frame has room for; the bye before it says the same in full."""

_SAID_BYTES_MAX: Final = 500
"""More of an answer is not shown."""

GOING_AWAY: Final = 1001
UNAUTHORISED: Final = 4401
"""The token is no longer valid."""
_CLOSE_CODES: Final[dict[str, int]] = {
    ByeCode.CLOSED: 1000,
    ByeCode.SECOND: 1000,
    ByeCode.DENIED: 4403,
    ByeCode.FORMAT: 4400,
    ByeCode.MALFORMED: 1007,
    ByeCode.RECORD: 1008,
    ByeCode.LIMIT: 1008,
    ByeCode.FAULT: 1011,
    ByeCode.SILENT: 1001,
}


def close_code(bye_code: str) -> int:
    """The websocket close code that goes with a bye; those from 4400 to 4499 are final."""
    return _CLOSE_CODES.get(bye_code, 1000)


def close_reason(text: str) -> str:
    """`text`, cut to what a close frame has room for."""
    return text.encode(errors="replace")[:CLOSE_REASON_BYTES_MAX].decode(errors="ignore")


def why_unreachable(error: OSError) -> str:
    """What a failed attempt to connect means, in words."""
    if error.errno == errno.ECONNREFUSED:
        return "nobody listens there"
    if getattr(error, "reason", None) == "WRONG_VERSION_NUMBER":
        return "there is no TLS at that port; without TLS an address begins with ws://"
    untrusted = getattr(error, "verify_message", None)
    if untrusted:
        return (
            f"its certificate is not trusted here: {untrusted} (if an authority of your own has"
            " signed it, name that one's file: SSL_CERT_FILE=ca.pem)"
        )
    return error.strerror or str(error)


def why_no_websocket(error: Exception) -> str:
    """What it means that a connection was opened and is no websocket, in words that go on after
    its address. `error` is what the library raised."""
    cause = error.__cause__
    if isinstance(cause, (EOFError, OSError)):
        return "ended the connection without an answer: it may be starting, stopping or cut off"
    return f"does not speak the websocket protocol: {cause or error}"


def why_refused(phrase: str, content_type: str, body: bytes | bytearray) -> str:
    """What was said in place of what was asked for; `phrase` stands beside its status. A relay
    says why in plain text; a proxy or web server sends a page, or nothing. Of that the phrase tells
    all, and who it is from: either the address leads to no relay, or the proxy does not reach the
    relay behind it."""
    said = body[:_SAID_BYTES_MAX].decode(errors="replace").strip()
    if said and "html" not in content_type.lower():
        return said
    return f"{phrase or 'no reason'}, said by a proxy or web server and not by a relay"


def sync_url(address: str) -> str:
    """The websocket URL of a relay's links, from what people write: ``ws://host:port``, with or
    without the path. CallerError if it is no such address."""
    scheme, _, rest = address.rpartition("://")
    meant = {"": "ws", "http": "ws", "https": "wss"}.get(scheme)
    hint = "write ws://host:port or wss://host"
    if meant and rest.strip("/"):
        hint = f"write {meant}://{rest}"
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise CallerError(f"{address!r} is no address of a relay: {error}", hint=hint) from None
    if parts.scheme not in ("ws", "wss") or not host:
        raise CallerError(f"{address!r} is no address of a relay", hint=hint)
    if parts.fragment or parts.query or parts.username is not None:
        raise CallerError(
            f"{address!r} holds more than an address", hint="give the token by itself"
        )
    path = parts.path.rstrip("/").removesuffix(SYNC_PATH)
    return urlunsplit((parts.scheme, parts.netloc, path + SYNC_PATH, "", ""))

"""How the opener of a websocket bears a token: a header, a query parameter or a subprotocol.

A browser can set no header. So who comes from one gives the token in the address, as y-websocket
does with ``params: {token}`` or ``{auth}``, or as the subprotocol ``yauth-<token>``, which keeps it
out of the logs of proxies. Must never know: what a token says, whether it is valid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

_BEARER: Final = "bearer "
_PARAMETERS: Final = ("token", "auth")
_SUBPROTOCOL: Final = "yauth-"


def token_of(
    headers: Mapping[str, str], query: Mapping[str, str], subprotocols: Sequence[str]
) -> tuple[str | None, str | None]:
    """(the token, None if there is none; the subprotocol to accept the websocket with, None if no
    offered one is ours). `headers` is asked in lower case. The header goes before the parameters,
    these before the subprotocol; one that is empty counts as none.

    A subprotocol that was offered has to be accepted whichever way the token came: a browser closes
    a connection whose server chose none of those it offered."""
    offered = next((name for name in subprotocols if name.startswith(_SUBPROTOCOL)), None)
    borne = [bearer(headers.get("authorization", ""))]
    borne += [query.get(name) for name in _PARAMETERS]
    if offered is not None:
        borne.append(offered.removeprefix(_SUBPROTOCOL))
    return next((token for token in borne if token), None), offered


def bearer(header: str) -> str | None:
    """The token in the value of an `Authorization` header; None if it holds none."""
    if not header.lower().startswith(_BEARER):
        return None
    return header[len(_BEARER) :].strip() or None

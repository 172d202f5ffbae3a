"""Asking a relay how its mesh is, over HTTP.

Must never know: what the answer means.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from weft_engine.errors import CallerError, LinkRefused
from weft_engine.limits import MIB
from weft_engine.sync.binding import SYNC_PATH, why_refused, why_unreachable
from weft_engine.sync.faults import LinkLost

MESH_PATH: Final = "/v1/mesh"
_SCHEMES: Final = {"ws": "http", "wss": "https", "http": "http", "https": "https"}
_ANSWER_BYTES_MAX: Final = 16 * MIB
_REFUSALS: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


def ask(url: str, token: str | None, *, timeout_s: float = 10.0) -> dict[str, Any]:
    """What the relay at `url` answers, its address as links have it or with http. Waits for it.
    CallerError if that is no address, LinkRefused if the relay does not take the token, LinkLost
    if it can't be asked now."""
    address = mesh_url(url)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(address, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            found = json.loads(answer.read(_ANSWER_BYTES_MAX))
    except urllib.error.HTTPError as error:
        with error:
            kind = error.headers.get("Content-Type", "")
            said = why_refused(error.reason, kind, error.read(_ANSWER_BYTES_MAX))
        if error.code in _REFUSALS:
            raise LinkRefused(
                f"{address} refuses to tell: {said}",
                hint="give a token with the right admin or peer",
            ) from error
        raise LinkLost(
            f"{address} answered with status {error.code}: {said}",
            hint="give the address of a relay",
        ) from error
    except urllib.error.URLError as error:
        reason = error.reason
        why = why_unreachable(reason) if isinstance(reason, OSError) else reason
        raise LinkLost(f"{address} can't be asked: {why}", hint="is the relay running?") from error
    except (OSError, ValueError) as error:
        raise LinkLost(
            f"{address} gave no answer that can be read: {error}",
            hint="give the address of a relay",
        ) from error
    if not isinstance(found, dict):
        raise LinkLost(f"{address} answered something else", hint="give the address of a relay")
    return found


def mesh_url(url: str) -> str:
    """Where to ask the relay whose links are at `url`. CallerError."""
    hint = "write ws://host:port, wss://host, http://host:port or https://host"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise CallerError(f"{url!r} is no address of a relay: {error}", hint=hint) from None
    if parts.scheme not in _SCHEMES or not host or parts.query or parts.username is not None:
        raise CallerError(f"{url!r} is no address of a relay", hint=hint)
    path = parts.path.rstrip("/").removesuffix(SYNC_PATH).removesuffix(MESH_PATH)
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path + MESH_PATH, "", ""))

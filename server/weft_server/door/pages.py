"""Which web pages may reach a relay that asks nobody for a token: those of this machine.

A browser opens websockets to 127.0.0.1 for whatever page it shows, and says in `Origin` whose page
it is; programs say nothing there. Must never know: tokens, connections.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_page_of_this_machine(origin: str) -> bool:
    """Whether an `Origin` names a server of this machine. A file and a sandboxed frame have none
    that tells them from those of others."""
    try:
        parts = urlsplit(origin)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme not in ("http", "https"):
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

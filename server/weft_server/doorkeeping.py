"""Who may open a link to this relay: everybody, or the bearers of tokens signed with its key.

Turns what a token says into what a link may do. Must never know: links.
"""

from __future__ import annotations

from pathlib import Path

from weft_engine.errors import CallerError, LinkRefused
from weft_engine.sync.interest import Interest
from weft_server import tokens
from weft_server.relay import ANYTHING, Doorkeeper, Permission, quota_of


def let_everybody_in(token: str | None, now_s: int) -> Permission:
    """The doorkeeper of an insecure relay."""
    return ANYTHING


def token_doorkeeper(key_file: Path) -> Doorkeeper:
    """A doorkeeper that asks for tokens signed with the key in this file."""
    key = tokens.read_key(key_file)

    def doorkeeper(token: str | None, now_s: int) -> Permission:
        if token is None:
            raise LinkRefused("this relay asks for a token, none came", hint="mint one: weft token")
        grant = tokens.check(key, token, now_s)
        try:
            interest = Interest.of(prefixes=grant.prefixes)
        except CallerError as error:
            raise LinkRefused(f"the token's prefixes can't be used: {error.message}") from error
        return Permission(
            interest,
            may_read="read" in grant.rights,
            may_append="append" in grant.rights,
            expires_s=grant.expires_s,
            quota=quota_of(token),
            is_peer="peer" in grant.rights,
            may_erase=not grant.rights.isdisjoint(("admin", "peer")),
        )

    return doorkeeper

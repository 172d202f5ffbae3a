"""Who may open a link to this relay: everybody, or the bearers of tokens signed with its keys.

Turns what a token says into what a link may do. Must never know: links.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

from weft_engine.errors import CallerError, LinkRefused
from weft_engine.sync.interest import Interest
from weft_server.door import tokens
from weft_server.door.permission import ANYTHING, Permission, quota_of
from weft_server.door.revoked import read_revoked
from weft_server.door.token_keys import read_keys
from weft_server.operator_log import LOGGER

_LOG: Final = logging.getLogger(LOGGER)


def let_everybody_in(token: str | None, now_s: int) -> Permission:
    """The doorkeeper of an insecure relay."""
    return ANYTHING


class TokenDoorkeeper:
    """Asks for tokens signed with a key of `key_file` whose ids are not in `revoked_file`, which
    need not exist. CallerError or NotFound if one of the files can't be used."""

    def __init__(self, key_file: Path, revoked_file: Path) -> None:
        self._key_file = key_file
        self._revoked_file = revoked_file
        self._seen = self._look()
        self._keys = read_keys(key_file)
        self._revoked = read_revoked(revoked_file)

    def __call__(self, token: str | None, now_s: int) -> Permission:
        if token is None:
            raise LinkRefused("this relay asks for a token, none came", hint="mint one: weft token")
        grant = tokens.check(self._keys, token, now_s)
        if grant.token_id in self._revoked:
            raise LinkRefused(
                f"the token is refused: it was revoked ({grant.token_id})",
                hint="get a new token from the relay's owner",
            )
        return permission_of(grant, token)

    def refresh(self) -> bool:
        """Read what has changed of the files; whether tokens have to be checked again. Files that
        can't be used leave it all as it was."""
        seen = self._look()
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            keys, revoked = read_keys(self._key_file), read_revoked(self._revoked_file)
        except CallerError as error:
            _LOG.error("keys and revoked tokens stay as they were: %s", error)
            return False
        self._keys, self._revoked = keys, revoked
        return True

    def _look(self) -> list[tuple[int, int, int] | None]:
        """What tells whether a file is still the one that was read."""
        found: list[tuple[int, int, int] | None] = []
        for path in (self._key_file, self._revoked_file):
            try:
                stat = os.stat(path)
            except OSError:
                found.append(None)
            else:
                found.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
        return found


def permission_of(grant: tokens.Grant, token: str) -> Permission:
    """What the bearer may do. LinkRefused if the prefixes can't be those of an interest."""
    rights = grant.rights
    try:
        interest = Interest.of(prefixes=grant.prefixes)
    except CallerError as error:
        raise LinkRefused(
            f"the token's prefixes can't be used: {error.message}",
            hint="get a new token from the relay's owner",
        ) from error
    return Permission(
        interest,
        may_read="read" in rights,
        may_append=not rights.isdisjoint(("append", "write")),
        may_edit=not rights.isdisjoint(("write", "peer")),
        expires_s=grant.expires_s,
        quota=quota_of(token),
        is_peer="peer" in rights,
        may_erase=not rights.isdisjoint(("admin", "peer")),
        region=grant.region,
    )

"""Tokens of the relay: JSON Web Tokens, HS256, that say which contexts their bearer may touch, how.

Claims: ``ctx``, a list of prefixes of context names; ``rights``, a list of `RIGHTS`; ``exp``, in
seconds since 1970, left out if the token never expires. Time is an argument.
Must never know: links, contexts that exist, who bears a token.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

from weft_engine.errors import CallerError, LinkRefused, MissingExtra, NotFound

RIGHTS: Final = ("read", "append", "admin", "peer")
KEY_BYTES_MIN: Final = 32
"""HS256 is as strong as its key; RFC 7518 asks for as many bits as the hash has."""
TOKEN_BYTES_MAX: Final = 64 * 1024
_ALGORITHM: Final = "HS256"
_KEY_BYTES_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class Grant:
    """What a valid token allows. `expires_s`: seconds since 1970, None = never."""

    prefixes: tuple[str, ...]
    rights: frozenset[str]
    expires_s: int | None

    def covers(self, context: str) -> bool:
        """Whether it is about the context of this name."""
        return context.startswith(self.prefixes)


def mint(
    key: bytes, *, prefixes: Iterable[str], rights: Iterable[str], expires_s: int | None, now_s: int
) -> str:
    """A token that is good for `expires_s` seconds from `now_s` on (None: for ever)."""
    jwt = _library()
    _check_key(key)
    granted = list(rights)
    unknown = sorted(set(granted).difference(RIGHTS))
    if unknown:
        raise CallerError(f"unknown rights {unknown}", hint=f"there are {', '.join(RIGHTS)}")
    claims: dict[str, object] = {"ctx": list(prefixes), "rights": granted}
    if expires_s is not None:
        claims["exp"] = now_s + expires_s
    token: str = jwt.encode(claims, key, algorithm=_ALGORITHM)
    return token


def check(key: bytes, token: str, now_s: float) -> Grant:
    """What `token` allows. LinkRefused with the reason if it is malformed, not signed with `key`,
    or expired."""
    jwt = _library()
    _check_key(key)
    if len(token) > TOKEN_BYTES_MAX:
        raise _refused(f"it is longer than {TOKEN_BYTES_MAX} bytes")
    try:
        # The time is checked below: the library would look at the clock itself.
        claims = jwt.decode(
            token,
            key,
            algorithms=[_ALGORITHM],
            options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
        )
    except jwt.InvalidSignatureError:
        raise _refused("it was signed with another key") from None
    except jwt.InvalidTokenError as error:
        raise _refused(f"it is malformed ({error})") from None
    prefixes, rights, expires = claims.get("ctx"), claims.get("rights"), claims.get("exp")
    if not _is_texts(prefixes):
        raise _refused("its claim ctx is no list of prefixes")
    if not _is_texts(rights):
        raise _refused("its claim rights is no list")
    if expires is not None and type(expires) is not int:
        raise _refused("its claim exp is no whole number of seconds")
    if expires is not None and expires <= now_s:
        raise _refused(f"it expired {now_s - expires:.0f} seconds ago")
    # Rights of a later version mean nothing here and do no harm.
    return Grant(tuple(prefixes), frozenset(rights).intersection(RIGHTS), expires)


def make_key_file(path: Path) -> None:
    """A new random key in a new file that only its owner can read."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise CallerError(
            f"{path} exists already", hint="leave --new-key out to use it, or name another file"
        ) from None
    except OSError as error:
        raise CallerError(
            f"{path} can't be made: {error.strerror}", hint="give a file in a writable folder"
        ) from None
    with os.fdopen(descriptor, "w") as file:
        print(secrets.token_urlsafe(KEY_BYTES_MIN), file=file)
        file.flush()
        os.fsync(file.fileno())


def read_key(path: Path) -> bytes:
    """The key in a file: its bytes, without white space at the end."""
    try:
        with path.open("rb") as file:
            data = file.read(_KEY_BYTES_MAX + 1)
    except FileNotFoundError:
        raise NotFound(
            f"there is no key file {path}", hint=f"weft token --new-key --key {path} makes one"
        ) from None
    except OSError as error:
        raise CallerError(
            f"{path} can't be read: {error.strerror}", hint="give a readable key file"
        ) from None
    if len(data) > _KEY_BYTES_MAX:
        raise CallerError(
            f"{path} is larger than {_KEY_BYTES_MAX} bytes", hint="that is no key file"
        )
    key = data.rstrip()
    _check_key(key)
    return key


def _check_key(key: bytes) -> None:
    if len(key) < KEY_BYTES_MIN:
        raise LinkRefused(
            f"the token key has {len(key)} bytes, at least {KEY_BYTES_MIN} are needed",
            hint="weft token --new-key --key FILE makes a good one",
        )


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _refused(why: str) -> LinkRefused:
    return LinkRefused(
        f"the token is refused: {why}", hint="get a new token from the relay's owner"
    )


def _library() -> ModuleType:
    try:
        import jwt
    except ImportError:
        raise MissingExtra(
            "tokens need the package PyJWT, which is not installed",
            hint="pip install 'weft[server]'",
        ) from None
    return jwt

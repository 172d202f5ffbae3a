"""Tokens of the relay: JSON Web Tokens that say which contexts their bearer may touch, and how.

Claims: ``ctx``, a list of prefixes of context names; ``rights``, a list of `RIGHTS`; ``jti``, by
which one token can be revoked; ``region``, the name of the only region that may link with it;
``exp`` and ``nbf``, in seconds since 1970, until and from when it
is good. All but the first two may be left out. Signed with EdDSA or HS256: a key is of one
algorithm, so what a token says of its own can't choose how it is verified. Time and randomness are
arguments. Must never know: links, contexts that exist, who bears a token.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final, TypeGuard

from weft_engine.errors import CallerError, LinkRefused, MissingExtra
from weft_engine.limits import INTEGER_MAX
from weft_engine.names import region_name
from weft_engine.sync.interest import Interest
from weft_server.door.token_keys import ALGORITHMS, KeyRing

RIGHTS: Final = ("read", "append", "write", "admin", "peer")
TOKEN_BYTES_MAX: Final = 8000
"""It has to fit in one line of a request's head, of which 8,192 bytes are read."""
TOKEN_ID_CHARS_MAX: Final = 128
NOT_BEFORE_LEEWAY_S: Final = 30
"""What the clock of who mints may be ahead of the relay's."""
_OURS: Final = {
    # The times are checked below: the library would look at the clock itself. Who may use a key at
    # all is said by the key file, not by the token's aud and iss.
    f"verify_{name}": False
    for name in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")
}


@dataclass(frozen=True, slots=True)
class Grant:
    """What a valid token allows. `expires_s`: seconds since 1970, None = never."""

    prefixes: tuple[str, ...]
    rights: frozenset[str]
    expires_s: int | None
    token_id: str | None = None
    region: str | None = None
    """The region whose relay alone may link with it; None: it says no name."""

    def covers(self, context: str) -> bool:
        """Whether it is about the context of this name."""
        return context.startswith(self.prefixes)


def mint(
    keys: KeyRing,
    *,
    prefixes: Iterable[str],
    rights: Iterable[str],
    expires_s: int | None,
    now_s: int,
    token_id: str | None = None,
    region: str | None = None,
) -> str:
    """A token that is good for `expires_s` seconds from `now_s` on (None: for ever), and for the
    relay of `region` alone if that is given. CallerError if no relay would take it."""
    jwt = _library()
    key = keys.signer
    granted, prefixes = list(rights), list(prefixes)
    unknown = sorted(set(granted).difference(RIGHTS))
    if unknown:
        raise CallerError(f"unknown rights {unknown}", hint=f"there are {', '.join(RIGHTS)}")
    claims: dict[str, object] = {"ctx": prefixes, "rights": granted}
    if region is not None:
        if "peer" not in granted:
            raise CallerError(
                f"a token for region {region_name(region)} needs the right peer",
                hint="leave the rights out, or give --read --append --peer",
            )
        claims["region"] = region_name(region)
    if token_id is not None:
        claims["jti"] = token_id
    if expires_s is not None:
        claims["exp"] = now_s + expires_s
    headers = None if key.id is None else {"kid": key.id}
    token: str = jwt.encode(claims, key.to_sign_with(), algorithm=key.algorithm, headers=headers)
    if len(token) > TOKEN_BYTES_MAX:
        raise CallerError(
            f"the token would have {len(token)} bytes, at most {TOKEN_BYTES_MAX} can be sent",
            hint="name fewer contexts, or a common beginning of them",
        )
    Interest.of(prefixes=prefixes)  # A relay asks for no less.
    return token


def check(keys: KeyRing, token: str, now_s: float) -> Grant:
    """What `token` allows. LinkRefused with the reason if it is malformed, not signed with one of
    `keys`, expired or not good yet."""
    grant, begins_s = _grant(_verified(keys, token))
    if grant.expires_s is not None and grant.expires_s <= now_s:
        raise _refused(f"it expired {now_s - grant.expires_s:.0f} seconds ago")
    if begins_s is not None and begins_s > now_s + NOT_BEFORE_LEEWAY_S:
        raise _refused(f"it is good in {begins_s - now_s:.0f} seconds only")
    # Rights of a later version mean nothing here and do no harm.
    return grant


def peek(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token, which nobody has verified. LinkRefused if it is none."""
    jwt = _library()
    _check_size(token)
    try:
        whole = jwt.decode_complete(token, options={"verify_signature": False, **_OURS})
    except (jwt.InvalidTokenError, RecursionError, ValueError) as error:
        raise _malformed(error) from None
    return whole["header"], whole["payload"]


def _verified(keys: KeyRing, token: str) -> dict[str, Any]:
    """The claims, signed with one of the keys by the algorithm of that key."""
    jwt = _library()
    _check_size(token)
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, RecursionError, ValueError) as error:
        raise _malformed(error) from None
    algorithm, id_ = header.get("alg"), header.get("kid")
    if algorithm not in ALGORITHMS:
        said = f"{algorithm!r:.40}"
        raise _refused(f"it says that it is signed with {said}, not {' or '.join(ALGORITHMS)}")
    for key in keys.fitting(algorithm, id_):
        try:
            claims: dict[str, Any] = jwt.decode(
                token, key.to_verify_with(), algorithms=[key.algorithm], options=_OURS
            )
        except jwt.InvalidSignatureError:
            continue
        except (jwt.InvalidTokenError, RecursionError, ValueError) as error:
            raise _malformed(error) from None
        return claims
    if id_ is not None and any(key.id == id_ for key in keys.keys):
        raise _refused(
            f"its signature is not that of the key it names ({id_:.80}): was it changed?"
        )
    named = "" if id_ is None else f" ({id_:.80})"
    raise _refused(f"it was signed with another key{named} than this relay's")


def _grant(claims: dict[str, Any]) -> tuple[Grant, int | None]:
    """What the claims say, and from when on it is good."""
    prefixes, rights, token_id = claims.get("ctx"), claims.get("rights"), claims.get("jti")
    if not _is_texts(prefixes):
        raise _refused("its claim ctx is no list of prefixes")
    if not _is_texts(rights):
        raise _refused("its claim rights is no list")
    for name in ("exp", "nbf"):
        value = claims.get(name)
        if value is not None and (type(value) is not int or not 0 <= value <= INTEGER_MAX):
            raise _refused(f"its claim {name} is no whole number of seconds since 1970")
    if token_id is not None and not (isinstance(token_id, str) and is_token_id(token_id)):
        raise _refused(
            f"its claim jti is no text of 1 to {TOKEN_ID_CHARS_MAX} characters without a space"
        )
    region = claims.get("region")
    if region is not None and not _is_region(region):
        raise _refused("its claim region is no name of a region")
    granted = frozenset(rights).intersection(RIGHTS)
    grant = Grant(tuple(prefixes), granted, claims.get("exp"), token_id, region)
    return grant, claims.get("nbf")


def is_token_id(text: str) -> bool:
    """Whether a token can be named so in the list of revoked ones."""
    return 0 < len(text) <= TOKEN_ID_CHARS_MAX and text.isprintable() and " " not in text


def _is_region(value: object) -> TypeGuard[str]:
    try:
        return isinstance(value, str) and region_name(value) == value
    except CallerError:
        return False


def _is_texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _check_size(token: str) -> None:
    if len(token) > TOKEN_BYTES_MAX:
        raise _refused(f"it is longer than {TOKEN_BYTES_MAX} bytes")


def _malformed(error: Exception) -> LinkRefused:
    why = "it nests too deep" if isinstance(error, RecursionError) else " ".join(str(error).split())
    return _refused(f"it is malformed ({why[:200]})")


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
            hint="pip install '.[server]' in Weft's folder",
        ) from None
    return jwt

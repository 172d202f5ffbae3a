"""The keys that sign tokens, and the files they are kept in.

A key file is a JSON Web Key Set (RFC 7517) with Ed25519 keys (RFC 8037, algorithm EdDSA) and
secrets of HS256. The first key that can sign signs; all of them verify, so a new key is put in
front and the old one taken out when its last token has expired. Beside a secret file stands its
public side, which verifies and can't sign: that is all a relay needs. A file with anything but
JSON is one HS256 secret, without white space at its end.

What is heavy to load is loaded where it is used: `weft --help` reads this. Must never know: what a
token says, who bears one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from weft_engine.errors import CallerError, NotFound
from weft_engine.limits import KIB

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

EDDSA: Final = "EdDSA"
HS256: Final = "HS256"
ALGORITHMS: Final = (EDDSA, HS256)
SECRET_BYTES_MIN: Final = 32
"""HS256 is as strong as its key; RFC 7518 asks for as many bits as the hash has."""
KEYS_MAX: Final = 64
KEY_ID_CHARS_MAX: Final = 64
_FILE_BYTES_MAX: Final = 64 * KIB
_SECRET_FILE_BYTES_MAX: Final = 4 * KIB
_ED25519_BYTES: Final = 32
_ID_CHARS: Final = 12
_PUBLIC_FORMS: Final = (b"-----BEGIN", b"ssh-", b"[", b"0\x82")
"""How files begin that hold keys of other programs: PEM, OpenSSH, JSON, DER."""
_HINT: Final = "weft keys new FILE makes one"


@dataclass(frozen=True, slots=True)
class TokenKey:
    """`id` is the `kid` of the tokens that it signs. Of EdDSA: 32 bytes each, `secret` None if
    it can only verify. Of HS256 there is no public side."""

    id: str | None
    algorithm: str
    secret: bytes | None
    public: bytes | None

    @property
    def can_sign(self) -> bool:
        return self.secret is not None

    def to_sign_with(self) -> Ed25519PrivateKey | bytes:
        assert self.secret is not None, "only what can sign signs"
        if self.algorithm == EDDSA:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

            return Ed25519PrivateKey.from_private_bytes(self.secret)
        return self.secret

    def to_verify_with(self) -> Ed25519PublicKey | bytes:
        if self.public is not None:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

            return Ed25519PublicKey.from_public_bytes(self.public)
        assert self.secret is not None, "a key has at least one side"
        return self.secret


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Every key of a file, in its order."""

    keys: tuple[TokenKey, ...]

    @property
    def signer(self) -> TokenKey:
        """The key that signs. CallerError if there is none."""
        for key in self.keys:
            if key.can_sign:
                return key
        raise CallerError(
            "none of these keys can sign: they are public",
            hint="mint with the secret file, whose name has no .pub at its end",
        )

    def fitting(self, algorithm: str, id_: str | None) -> list[TokenKey]:
        """The keys that may have signed a token that says this of itself. A key without an id may
        have signed any, and so may any key a token that names none."""
        return [
            key
            for key in self.keys
            if key.algorithm == algorithm and (id_ is None or key.id is None or key.id == id_)
        ]

    @property
    def public(self) -> KeyRing:
        """What verifies and can't sign; HS256 has no such side."""
        return KeyRing(
            tuple(
                TokenKey(key.id, key.algorithm, None, key.public)
                for key in self.keys
                if key.public is not None
            )
        )


def new_key(algorithm: str, *, seed: bytes, id_: str | None = None) -> TokenKey:
    """A key from 32 random bytes; without an id it is named by its public side, or at random."""
    if algorithm == EDDSA:
        from weft_engine.records.ed25519 import SigningKey  # libsodium is loaded for this only

        public = SigningKey(seed).public
        return TokenKey(id_ or _short_id(public), EDDSA, seed, public)
    assert algorithm == HS256, f"there is no algorithm {algorithm}"
    # Not a hash of the secret itself: an id is public.
    return TokenKey(id_ or _short_id(b"weft-key-id" + seed), HS256, seed, None)


# ---- files ----------------------------------------------------------------------------------


def read_keys(path: Path) -> KeyRing:
    """The keys in a file, secret or public. NotFound if there is no file, CallerError if it holds
    something else."""
    try:
        with path.open("rb") as file:
            data = file.read(_FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise NotFound(f"there is no key file {path}", hint=_HINT) from None
    except OSError as error:
        raise CallerError(
            f"{path} can't be read: {error.strerror}", hint="give a readable key file"
        ) from None
    if not data.lstrip().startswith(b"{"):
        return KeyRing((_plain_secret(path, data),))
    if len(data) > _FILE_BYTES_MAX:
        raise _no_keys(path, f"it is larger than {_FILE_BYTES_MAX} bytes")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise _no_keys(path, "it is no JSON") from None
    entries = found.get("keys")
    if not isinstance(entries, list) or not 1 <= len(entries) <= KEYS_MAX:
        raise _no_keys(path, f"it has no list of 1 to {KEYS_MAX} keys")
    keys = tuple(_key(path, entry) for entry in entries)
    ids = [key.id for key in keys if key.id is not None]
    if len(set(ids)) < len(ids):
        raise _no_keys(path, "two of its keys have one id")
    return KeyRing(keys)


def public_path(path: Path) -> Path:
    """Where the public side of a key file is."""
    return path.with_name(path.name + ".pub")


def make_key_file(path: Path, *, algorithm: str = EDDSA, id_: str | None = None) -> TokenKey:
    """A new key in a new file that only its owner can read, and its public side beside it."""
    key = new_key(algorithm, seed=secrets.token_bytes(_ED25519_BYTES), id_=_checked_id(id_))
    if path.exists():
        raise CallerError(
            f"{path} exists already", hint="weft keys rotate adds a key to it; or name another file"
        )
    _write(path, KeyRing((key,)), is_new=True)
    return key


def rotate(path: Path, *, id_: str | None = None) -> TokenKey:
    """Put a new key in front, of the same algorithm as the one that signs now."""
    ring = read_keys(path)
    key = new_key(
        ring.signer.algorithm, seed=secrets.token_bytes(_ED25519_BYTES), id_=_checked_id(id_)
    )
    if len(ring.keys) >= KEYS_MAX:
        raise CallerError(f"{path} holds {KEYS_MAX} keys", hint="retire some of them first")
    if any(key.id == other.id for other in ring.keys):
        raise CallerError(f"{path} has a key {key.id} already", hint="choose another --id")
    _write(path, KeyRing((key, *ring.keys)), is_new=False)
    return key


def retire(path: Path, id_: str) -> None:
    """Take a key out: what it signed is refused from then on."""
    ring = read_keys(path)
    kept = tuple(key for key in ring.keys if key.id != id_)
    if len(kept) == len(ring.keys):
        raise NotFound(f"{path} has no key {id_}", hint="weft keys show lists them")
    if not kept:
        raise CallerError(
            f"{id_} is the only key of {path}", hint="weft keys rotate adds one; then retire this"
        )
    _write(path, KeyRing(kept), is_new=False)


def as_json(ring: KeyRing) -> str:
    """A key set as text; with secrets if the keys have them."""
    return json.dumps({"keys": [_entry(key) for key in ring.keys]}, indent=2)


# ---- inside ---------------------------------------------------------------------------------


def _plain_secret(path: Path, data: bytes) -> TokenKey:
    if len(data) > _SECRET_FILE_BYTES_MAX:
        raise _no_keys(path, f"it is larger than {_SECRET_FILE_BYTES_MAX} bytes")
    secret = data.rstrip()
    if secret.lstrip().startswith(_PUBLIC_FORMS):
        # Everybody may know it: as a secret of HS256 it would let everybody in.
        raise _no_keys(path, "it holds a key in another format than JSON")
    if len(secret) < SECRET_BYTES_MIN:
        raise _no_keys(path, f"it has {len(secret)} bytes, at least {SECRET_BYTES_MIN} are needed")
    return TokenKey(None, HS256, secret, None)


def _key(path: Path, entry: object) -> TokenKey:
    if not isinstance(entry, dict):
        raise _no_keys(path, "a key is no object")
    id_ = entry.get("kid")
    if id_ is not None and not (isinstance(id_, str) and is_key_id(id_)):
        raise _no_keys(path, "a kid is no short printable text")
    kind, curve = entry.get("kty"), entry.get("crv")
    if kind == "OKP" and curve == "Ed25519":
        public = _bytes(path, entry, "x", _ED25519_BYTES)
        secret = _bytes(path, entry, "d", _ED25519_BYTES) if "d" in entry else None
        if secret is not None and new_key(EDDSA, seed=secret).public != public:
            raise _no_keys(path, "the two sides of a key do not belong together")
        return TokenKey(id_, EDDSA, secret, public)
    if kind == "oct":
        return TokenKey(id_, HS256, _bytes(path, entry, "k", None), None)
    raise _no_keys(path, "a key is neither Ed25519 (OKP) nor a secret (oct)")


def _bytes(path: Path, entry: dict[object, object], name: str, size: int | None) -> bytes:
    text = entry.get(name)
    data = b""
    if isinstance(text, str):
        with suppress(binascii.Error, ValueError):
            data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if len(data) != size if size is not None else len(data) < SECRET_BYTES_MIN:
        wanted = f"{size}" if size is not None else f"at least {SECRET_BYTES_MIN}"
        raise _no_keys(path, f"the member {name} of a key has {len(data)} bytes, not {wanted}")
    return data


def _entry(key: TokenKey) -> dict[str, str]:
    entry = {} if key.id is None else {"kid": key.id}
    entry |= {"alg": key.algorithm, "use": "sig"}
    if key.algorithm == EDDSA:
        assert key.public is not None, "a key of EdDSA has a public side"
        entry |= {"kty": "OKP", "crv": "Ed25519", "x": _text(key.public)}
        return entry if key.secret is None else entry | {"d": _text(key.secret)}
    assert key.secret is not None, "HS256 has a secret"
    return entry | {"kty": "oct", "k": _text(key.secret)}


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _write(path: Path, ring: KeyRing, *, is_new: bool) -> None:
    """The public side first: a relay knows a key before anything is signed with it."""
    public = ring.public
    if public.keys:
        _put(public_path(path), as_json(public), mode=0o644, is_new=False)
    _put(path, as_json(ring), mode=0o600, is_new=is_new)


def _put(path: Path, text: str, *, mode: int, is_new: bool) -> None:
    """Beside its place and moved there, so that nobody ever reads half of it."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            if is_new:
                os.link(draft, path)
            else:
                os.replace(draft, path)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(draft)
    except FileExistsError:
        raise CallerError(f"{path} exists already", hint="name another file") from None
    except OSError as error:
        raise CallerError(
            f"{path} can't be written: {error.strerror}", hint="give a file in a writable folder"
        ) from None


def is_key_id(text: str) -> bool:
    return 0 < len(text) <= KEY_ID_CHARS_MAX and text.isprintable() and " " not in text


def _checked_id(id_: str | None) -> str | None:
    if id_ is not None and not is_key_id(id_):
        raise CallerError(
            f"{id_[:80]!r} is no id of a key",
            hint=f"1 to {KEY_ID_CHARS_MAX} printable characters without a space",
        )
    return id_


def _short_id(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_ID_CHARS]


def _no_keys(path: Path, why: str) -> CallerError:
    return CallerError(f"{path} is no key file: {why}", hint=_HINT)

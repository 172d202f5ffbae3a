"""Ed25519 (RFC 8032) as libsodium has it: of the libraries that are kept well the fastest to verify
(docs/decisions/0043).

Must never know: what is signed.
"""

from __future__ import annotations

from typing import Final

from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64


class SigningKey:
    """A pair of keys, from 32 secret bytes of a cryptographic source of randomness."""

    __slots__ = ("_pair", "public")

    def __init__(self, seed: bytes) -> None:
        self.public, self._pair = crypto_sign_seed_keypair(seed)
        """32 bytes; and the same behind the secret ones, as libsodium wants them."""

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return crypto_sign(message, self._pair)[:SIGNATURE_BYTES]


def is_signed(message: bytes, signature: bytes, public_key: bytes) -> bool:
    """Whether the holder of this key signed the message. What has another length than a key or a
    signature is neither."""
    # libsodium reads as many bytes as it expects.
    if len(public_key) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        crypto_sign_open(signature + message, public_key)
    except BadSignatureError:
        return False
    return True

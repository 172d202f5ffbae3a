"""Ed25519 as RFC 8032 has it, and what is no signature."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from weft_engine.records.ed25519 import SigningKey, is_signed

VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b4"
        "6bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d"
        "8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
]
"""Of RFC 8032, 7.1: secret, public key, message, signature."""


@pytest.mark.parametrize(("secret", "public", "message", "signature"), VECTORS)
def test_vectors_of_the_standard(secret: str, public: str, message: str, signature: str) -> None:
    key = SigningKey(bytes.fromhex(secret))
    assert key.public.hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature
    assert is_signed(bytes.fromhex(message), bytes.fromhex(signature), key.public)


def test_another_library_says_the_same() -> None:
    for index in range(20):
        seed, message = bytes((index,)) * 32, bytes(range(index))
        theirs, ours = Ed25519PrivateKey.from_private_bytes(seed), SigningKey(seed)
        assert ours.public == theirs.public_key().public_bytes_raw()
        assert ours.sign(message) == theirs.sign(message)


def test_what_was_altered_is_not_signed() -> None:
    key = SigningKey(bytes(32))
    signature = key.sign(b"words")
    assert is_signed(b"words", signature, key.public)
    assert not is_signed(b"other words", signature, key.public)
    assert not is_signed(b"words", signature, SigningKey(bytes((1,)) * 32).public)
    for at in range(64):
        altered = bytearray(signature)
        altered[at] ^= 1
        assert not is_signed(b"words", bytes(altered), key.public)


def test_lengths_count() -> None:
    """The library takes one string of both, and reads a key as far as a key goes."""
    key = SigningKey(bytes(32))
    signature = key.sign(b"words")
    assert not is_signed(b"ords", signature + b"w", key.public)
    assert not is_signed(signature[-1:] + b"words", signature[:-1], key.public)
    assert not is_signed(b"words", b"", key.public)
    for public in (b"", key.public[:-1], key.public + b"\0"):
        assert not is_signed(b"words", signature, public)


def test_keys_that_sign_everything_sign_nothing() -> None:
    """With a key of small order one signature fits many messages."""
    neutral = b"\1" + bytes(31)
    assert not any(
        is_signed(message, neutral + bytes(32), public)
        for public in (bytes(32), neutral, b"\xec" + b"\xff" * 30 + b"\x7f")
        for message in (b"", b"words", b"other words")
    )

"""The hashes of the format: BLAKE2b, keyed by use, so that no digest can stand for another."""

from __future__ import annotations

from hashlib import blake2b

# Copied for each digest, which costs less than setting one up.
_RECORD = blake2b(digest_size=32, person=b"weft-record")
_PAYLOAD = blake2b(digest_size=32, person=b"weft-payload")


def record_digest(envelope: bytes) -> bytes:
    """32 bytes: the name of a record."""
    digest = _RECORD.copy()
    digest.update(envelope)
    return digest.digest()


def payload_digest(payload: bytes) -> bytes:
    """32 bytes: what an envelope says about its payload."""
    digest = _PAYLOAD.copy()
    digest.update(payload)
    return digest.digest()


def origin_digest(public_key: bytes) -> bytes:
    """16 bytes: the incarnation that holds this Ed25519 public key."""
    return blake2b(public_key, digest_size=16, person=b"weft-origin").digest()


def client_digest(incarnation: bytes, context: str) -> bytes:
    """8 bytes, of which the upper 53 bits are the incarnation's Yjs client id in a context."""
    return blake2b(incarnation + context.encode(), digest_size=8, person=b"weft-client").digest()


def fingerprint_digest(frontier: bytes) -> bytes:
    """32 bytes over a sorted frontier, its hashes joined."""
    return blake2b(frontier, digest_size=32, person=b"weft-fingerprint").digest()


def interest_digest(packed: bytes) -> bytes:
    """16 bytes over what two ends of a link agree on."""
    return blake2b(packed, digest_size=16, person=b"weft-interest").digest()


def struct_digest(struct: bytes) -> bytes:
    """32 bytes over one struct of an update, as an eraser names what it replaces."""
    return blake2b(struct, digest_size=32, person=b"weft-struct").digest()


def structs_digest(parts: bytes) -> bytes:
    """32 bytes over an update that is known struct by struct."""
    return blake2b(parts, digest_size=32, person=b"weft-structs").digest()

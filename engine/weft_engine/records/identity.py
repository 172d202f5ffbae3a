"""Who writes: an incarnation is the identity of a writer while a store is open.

It is the hash of an Ed25519 public key. One signature over the tip of a chain vouches for the whole
chain, because each envelope names its predecessor by hash.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from weft_engine.errors import MalformedRecord
from weft_engine.names import ClientId, Incarnation, RecordHash
from weft_engine.records.certificate import Certificate
from weft_engine.records.digest import client_digest, origin_digest
from weft_engine.records.ed25519 import SigningKey, is_signed

_TIP_PREFIX: Final = b"weft-tip-1"
_CLIENTS_CACHED_MAX: Final = 2048


@dataclass(frozen=True, slots=True)
class SignatureItem:
    """One writer's word for a chain up to and including the record `tip`."""

    public_key: bytes
    tip: RecordHash
    signature: bytes
    certificate: Certificate | None = None
    """A region's word for this writer: what it needs for foreign records."""

    @property
    def incarnation(self) -> Incarnation:
        return Incarnation(origin_digest(self.public_key))

    def verify(self) -> None:
        """MalformedRecord unless the key signed this tip, and a certificate is for this key."""
        if not is_signed(_TIP_PREFIX + self.tip, self.signature, self.public_key):
            raise MalformedRecord(
                f"the signature of record {self.tip.hex()[:16]} is wrong",
                hint="the record was altered or its writer is not who it says",
            )
        if self.certificate is not None:
            self.certificate.verify(self.incarnation)


class WriterKey:
    """The private side of an incarnation."""

    __slots__ = ("_key", "incarnation", "public_key", "seed")

    def __init__(self, seed: bytes) -> None:
        self.seed = seed
        """32 secret bytes, from a cryptographic source of randomness."""
        self._key = SigningKey(seed)
        self.public_key = self._key.public
        self.incarnation = Incarnation(origin_digest(self.public_key))

    def sign(self, tip: RecordHash) -> SignatureItem:
        return SignatureItem(self.public_key, tip, self._key.sign(_TIP_PREFIX + tip))


@lru_cache(maxsize=_CLIENTS_CACHED_MAX)
def client_id(incarnation: Incarnation, context: str) -> ClientId:
    """The Yjs client id under which an incarnation writes in a context: 53 bits."""
    return ClientId(int.from_bytes(client_digest(incarnation, context), "big") >> 11)

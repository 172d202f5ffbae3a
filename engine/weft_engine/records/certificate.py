"""Certificates: a region's word for an incarnation that writes there for others.

A relay writes down what plain Yjs clients do, under Yjs client ids that are not its own; such a
record is marked foreign. Anybody could mark a record so and then write in every other's name, so
the mark counts only beside a certificate by some region's key. Whose keys to trust is a setting of
a relay. Must never know: which keys are trusted, where the secret ones are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from weft_engine.errors import MalformedRecord
from weft_engine.names import Incarnation
from weft_engine.records.ed25519 import KEY_BYTES, SIGNATURE_BYTES, SigningKey, is_signed

_PREFIX: Final = b"weft-region-1"
CERTIFICATE_BYTES: Final = KEY_BYTES + SIGNATURE_BYTES


@dataclass(frozen=True, slots=True)
class Certificate:
    """`region` is the public key (32 bytes), `signature` (64 bytes) is over the incarnation."""

    region: bytes
    signature: bytes

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """From its 96 bytes; MalformedRecord if it has another length."""
        if len(data) != CERTIFICATE_BYTES:
            raise MalformedRecord(f"a certificate has {len(data)} bytes, not {CERTIFICATE_BYTES}")
        return cls(data[:KEY_BYTES], data[KEY_BYTES:])

    def pack(self) -> bytes:
        return self.region + self.signature

    def verify(self, incarnation: Incarnation) -> None:
        """MalformedRecord unless the region's key signed this incarnation."""
        if not is_signed(_PREFIX + incarnation, self.signature, self.region):
            raise MalformedRecord(
                f"the certificate of incarnation {incarnation.hex()} by region key"
                f" {self.region.hex()[:16]} is wrong",
                hint="it was made for another incarnation, or altered",
            )


class RegionKey:
    """The private side of a region."""

    __slots__ = ("_key", "public")

    def __init__(self, seed: bytes) -> None:
        """`seed`: 32 secret bytes, from a cryptographic source of randomness."""
        self._key = SigningKey(seed)
        self.public = self._key.public

    def certify(self, incarnation: Incarnation) -> Certificate:
        return Certificate(self.public, self._key.sign(_PREFIX + incarnation))

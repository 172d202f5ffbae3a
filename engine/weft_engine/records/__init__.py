"""Records: signed, hash-linked envelopes around what changed, and who wrote them."""

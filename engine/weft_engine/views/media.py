"""The media table: what an attachment counts as, because it has no text to count.

Must never know: files, providers, messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class MediaTable:
    """Tokens per attachment. Flat on purpose: what a provider charges depends on its model, so a
    message that must be exact brings its own `tokens`."""

    image: int = 1_445
    """OpenAI's dearest tiling: 2048 by 768 pixels at high detail, 85 + 8 tiles of 170."""
    audio: int = 1_500
    file: int = 4_000

    def tokens(self, kind: str) -> int:
        """Of an attachment of this kind: image, audio, or any other file."""
        match kind:
            case "image":
                return self.image
            case "audio":
                return self.audio
            case _:
                return self.file


DEFAULT_MEDIA: Final = MediaTable()

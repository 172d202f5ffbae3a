"""What stands in a view for an attachment that a provider has no place for.

Must never know: any format.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from weft_engine.events.part import File, Part

IMAGE_TYPES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")
"""The images that models look at; providers refuse others."""
ANY_IMAGE: Final = "image/*"
_TYPE_CHARS_MAX: Final = 100


def is_unseen_image(file: File) -> bool:
    return file.media_type.startswith("image/") and file.media_type not in (*IMAGE_TYPES, ANY_IMAGE)


def remark_of(file: File) -> str:
    return f"[attachment: {file.media_type[:_TYPE_CHARS_MAX]}]"


def remarks_of(parts: Iterable[Part]) -> str:
    """All attachments of a message of which nothing else can be said; empty if it has none."""
    return "\n".join(remark_of(part) for part in parts if isinstance(part, File))

"""The constants of the counting rule, and what they add up to in any format.

    message  4 + [1 + n(name)] + its parts
    part     text n(text); call 8 + n(name) + n(arguments); result n(out);
             reasoning n(text) + n(data); file by the media table

Counted on the strings that are sent. Must never know: any format, budgets, tokenizers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

MESSAGE_TOKENS: Final = 4
NAME_TOKENS: Final = 1
CALL_TOKENS: Final = 8

CountText = Callable[[str], int]
CountFile = Callable[[str], int]
"""By kind: image, audio or file."""

IMAGE: Final = "image"
AUDIO: Final = "audio"
FILE: Final = "file"

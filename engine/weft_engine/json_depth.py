"""How deep a JSON text nests, told before anything parses it.

A parser that recurses would answer by what stack its caller left it; this looks at brackets
outside strings only, in time linear in the text. Must never know: what else JSON is.
"""

from __future__ import annotations

import re
from array import array
from itertools import accumulate
from typing import Final

from weft_engine.errors import InvalidMessage
from weft_engine.limits import NESTING_DEPTH_MAX

# An unterminated string runs to the end, so no start is tried twice: linear on any input.
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # as signed bytes: +1 and -1
_SCAN_BYTES: Final = 64 * 1024


def check_depth(text: str) -> None:
    """InvalidMessage if `text` nests deeper than NESTING_DEPTH_MAX levels."""
    if text.count("[") + text.count("{") <= NESTING_DEPTH_MAX:
        return
    brackets = _STRING.sub(b"", text.encode(errors="surrogatepass"))
    steps = brackets.translate(_STEPS, _NOT_BRACKETS)
    depth = 0
    for start in range(0, len(steps), _SCAN_BYTES):
        sums = list(accumulate(array("b", steps[start : start + _SCAN_BYTES]), initial=depth))
        if max(sums) > NESTING_DEPTH_MAX:
            raise InvalidMessage(f"nested deeper than {NESTING_DEPTH_MAX} levels")
        depth = sums[-1]

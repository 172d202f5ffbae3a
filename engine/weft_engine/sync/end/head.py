"""How far into the journal the links of a store were told of what is new.

Must never know: links, the journal itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from weft_engine.names import Position

_NOWHERE = Position(0)


@dataclass(slots=True)
class Head:
    """How much of the journal all links were told of, and the beginning of the hash of the record
    there, if it is known. `committed`: how much was committed since there are links; 0: nothing."""

    position: Position
    row: bytes = b""
    committed: Position = _NOWHERE

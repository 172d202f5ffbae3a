"""What comes on stdin, piece by piece as it comes, without holding up the event loop.

Must never know: what is done with it.
"""

from __future__ import annotations

import asyncio
import codecs
import os
import sys
import threading
from collections.abc import AsyncIterator
from typing import Final

from weft_engine.errors import CallerError

_PIECE_BYTES: Final = 64 * 1024
_AHEAD_MAX: Final = 16
"""Pieces that are read before anybody took them."""


async def stdin_pieces() -> AsyncIterator[str]:
    """The text on stdin. CallerError if it is no UTF-8."""
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[bytes | OSError] = asyncio.Queue()
    room = threading.Semaphore(_AHEAD_MAX)
    descriptor = sys.stdin.fileno()

    def put(piece: bytes | OSError) -> bool:
        room.acquire()
        if loop.is_closed():
            return False
        loop.call_soon_threadsafe(pieces.put_nowait, piece)
        return bool(piece) and isinstance(piece, bytes)

    def read() -> None:
        try:
            while put(os.read(descriptor, _PIECE_BYTES)):
                pass
        except OSError as error:
            put(error)
        except RuntimeError:
            # The loop was closed just now: nobody waits for more.
            return

    # A daemon: nothing ends a read of a terminal, and nobody shall wait for it.
    threading.Thread(target=read, name="weft-stdin", daemon=True).start()
    decoder = codecs.getincrementaldecoder("utf-8")()
    while True:
        piece = await pieces.get()
        room.release()
        if isinstance(piece, OSError):
            raise CallerError(f"stdin can't be read: {piece.strerror}", hint="pipe text into it")
        try:
            yield decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            raise CallerError(
                f"stdin is no UTF-8: {error.reason}", hint="convert it to UTF-8"
            ) from None
        if not piece:
            return

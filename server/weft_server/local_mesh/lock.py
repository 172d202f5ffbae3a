"""One mesh at a time in a folder: a file that is locked as long as the mesh runs.

Must never know: what runs there.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from weft_engine.errors import Conflict, MachineError
from weft_server.local_mesh.plan import MeshFolder

_LOOK_EVERY_S: Final = 0.05


@contextmanager
def locked(folder: MeshFolder, *, wait_s: float = 0.0) -> Iterator[None]:
    """Hold `folder`, which is made. Conflict if another process holds it for longer than `wait_s`;
    the system lets go of it when the holder ends in whatever way."""
    try:
        folder.lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise MachineError(
            f"the folder {folder.path} can't be used for a mesh: {error.strerror}",
            hint="give another --folder",
        ) from error
    try:
        until_s = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until_s:
                    raise Conflict(
                        f"a mesh is up in {folder.path} already",
                        hint=f"weft mesh down --folder {folder.path} ends it; or use another"
                        " --folder",
                    ) from None
            time.sleep(_LOOK_EVERY_S)
        yield
    finally:
        os.close(descriptor)

"""A process that repairs or restores and dies at the nth change of names in the store's folder."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from weft_engine.storage import draft
from weft_engine.storage.backup import restore
from weft_engine.storage.repair import repair

NOT_REACHED = 3
DIED = 9


def dying(left: list[int], call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    if not left[0]:
        os._exit(DIED)
    left[0] -= 1
    return call(*args, **options)


def main(what: str, store: Path, number: int) -> None:
    left = [number]
    swap = draft.swap

    def watched(*args: Any, **options: Any) -> None:
        for name in ("link", "unlink", "rename", "fsync"):
            setattr(os, name, partial(dying, left, getattr(os, name)))
        swap(*args, **options)
        # Behind the last step, too, nothing is done any more.
        os._exit(NOT_REACHED if left[0] else DIED)

    import weft_engine.storage.backup
    import weft_engine.storage.repair

    weft_engine.storage.backup.swap = watched  # type: ignore[attr-defined]
    weft_engine.storage.repair.swap = watched  # type: ignore[attr-defined]
    now_ms = time.time_ns() // 1_000_000
    if what == "repair":
        repair(store, now_ms=now_ms, random=os.urandom, progress=lambda *_: None)
    else:
        restore(
            store.with_name("backup.db"),
            store,
            replace=True,
            now_ms=now_ms,
            random=os.urandom,
            progress=lambda *_: None,
        )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))

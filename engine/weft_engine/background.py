"""Tasks that run beside everything else, and that nobody waits for: when one fails, somebody hears.

asyncio itself speaks of a failed task only once it is forgotten, so of one that its owner keeps it
never does. Must never know: what the tasks do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")
Failed: TypeAlias = Callable[[BaseException], None]


def begin(
    work: Coroutine[Any, Any, T], *, name: str, failed: Failed | None = None
) -> asyncio.Task[T]:
    """Run `work` as a task that its owner keeps, and cancels in the end. If it fails, `failed` is
    called with the error in that moment; without one, the event loop's exception handler, which
    logs it with where it happened."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        work.close()  # Or Python would complain of it, and not of what is wrong.
        raise
    task = loop.create_task(work, name=name)
    task.add_done_callback(partial(_ended, failed))
    return task


def _ended(failed: Failed | None, task: asyncio.Task[Any]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is None:
        return
    if failed is not None:
        failed(error)
    else:
        tell(task, error)


def tell(task: asyncio.Task[Any], error: BaseException) -> None:
    """Tell the event loop's exception handler that `task` has failed."""
    task.get_loop().call_exception_handler(
        {"message": f"the task {task.get_name()} has failed", "exception": error, "task": task}
    )

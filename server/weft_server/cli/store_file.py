"""The store and the context that a command works on: their arguments, and opening them.

Must never know: what is done with them.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from weft_engine.errors import NotAStore, NotFound, StoreError

if TYPE_CHECKING:
    from weft_engine.replica.context import Context
    from weft_engine.replica.replica import Replica


def add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--store", required=True, type=Path, metavar="FILE", help="the store, a SQLite file"
    )


def add_context(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("context", metavar="CONTEXT", help="its name, such as acme/chat-42")


def add_prefix(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--prefix", default="", help="only contexts whose names begin so, such as acme/"
    )


def positive(text: str) -> int:
    """An argument that counts something."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 1 or more")
    return number


def check_path(store: Path) -> None:
    """NotAStore or StoreError, with what to do, for a path where no store can be used, whatever
    stands in the file."""
    if store.is_dir():
        raise NotAStore(f"{store} is a folder, not a store", hint="give the path of a file")
    if not store.exists():
        return
    if not _may(store, os.R_OK):
        raise StoreError(f"{store} may not be read by you", hint="check the rights of the file")
    # SQLite's log and its index stand beside the store, even for those who only read.
    log_index = store.with_name(store.name + "-shm")
    if not _may(store.parent, os.W_OK) and not log_index.exists():
        raise StoreError(
            f"the folder of {store} may not be written by you",
            hint="check the rights of the folder, or copy the store to a folder of yours",
        )


def check_exists(store: Path) -> None:
    """As `check_path`, for a command that must not make a store."""
    check_path(store)
    if not store.exists():
        raise NotAStore(f"there is no store at {store}", hint="check the path")


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


async def open_to_read(path: Path) -> Replica:
    """The store at `path`, for reading only: needs no lock and works beside a writer."""
    return _open(path, readonly=True)


async def open_to_write(path: Path, *, indexes_ahead: bool = True) -> Replica:
    """The store at `path`, made if there is none. StoreLocked if another process writes in it.
    `indexes_ahead` as in `Replica.open`."""
    return _open(path, readonly=False, indexes_ahead=indexes_ahead)


async def held_context(replica: Replica, arguments: argparse.Namespace) -> Context:
    """The context that the command names. NotFound if the store holds nothing of it."""
    context = replica.context(arguments.context)
    if await replica.state(context.name) is None:
        raise NotFound(
            f"{arguments.store} has no context {arguments.context!r}",
            hint=f"weft contexts --store {arguments.store} lists them",
        )
    return context


def _open(path: Path, *, readonly: bool, indexes_ahead: bool = True) -> Replica:
    from weft_engine.replica.replica import Replica

    check_path(path)
    return Replica.open(
        path,
        now_ms=_now_ms,
        random=os.urandom,
        readonly=readonly,
        monotonic_ms=lambda: time.monotonic_ns() // 1_000_000,
        indexes_ahead=indexes_ahead,
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

"""The receipts of the views that this store made, kept off the path of the views."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Sequence
from typing import Final

from weft_engine.background import begin
from weft_engine.errors import MachineError, NotFound
from weft_engine.records.frontier import pack, unpack
from weft_engine.storage.journal import SqliteJournal
from weft_engine.views.receipt import Receipt

_DELAY_S: Final = 0.25
_RETRY_S: Final = 1.0
_PENDING_MAX: Final = 256
_HELD_MAX: Final = 4096
"""While the disk fails, the receipts of this many views wait for it."""


class ReceiptBook:
    """A receipt is durable a moment after its view, or when `flush` returns. While the disk fails
    the newest few thousand wait; older ones are only where their views are."""

    def __init__(self, journal: SqliteJournal) -> None:
        self._journal = journal
        self._pending: dict[str, Receipt] = {}
        self._writing: asyncio.Task[None] | None = None
        self._closed = False

    def keep(self, receipt: Receipt) -> None:
        """Keep `receipt` under its trace id; a later one of the same id replaces it."""
        if self._journal.readonly:
            return
        self._pending.pop(receipt.trace_id, None)
        self._pending[receipt.trace_id] = receipt
        if len(self._pending) > _HELD_MAX:
            del self._pending[next(iter(self._pending))]
        self._start()

    async def find(self, trace_id: str) -> Receipt:
        """The receipt of this trace id; NotFound if no view of this store had it."""
        receipt = self._pending.get(trace_id)
        if receipt is None:
            receipt = await self._journal.read(lambda connection: _load(connection, trace_id))
        if receipt is None:
            raise NotFound(
                f"this store has no receipt with trace id {trace_id!r}",
                hint="receipts are kept by the store that made the view",
            )
        return receipt

    async def flush(self) -> None:
        """Return when every receipt kept so far is durable. StoreError if the disk fails; then it
        is tried again later."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
            self._writing = None
        try:
            await self._write()
        finally:
            self._start()

    async def close(self) -> None:
        """Keep what is left to keep. StoreError if that is not possible."""
        self._closed = True
        await self.flush()

    def _start(self) -> None:
        if self._pending and self._writing is None and not self._closed:
            self._writing = begin(self._write_soon(), name="weft-receipts")

    async def _write_soon(self) -> None:
        while self._pending:
            if len(self._pending) < _PENDING_MAX:
                await asyncio.sleep(_DELAY_S)
            try:
                await self._write()
            except MachineError:
                # They are still pending. Whoever writes or flushes is told; here nobody listens.
                await asyncio.sleep(_RETRY_S)
        self._writing = None

    async def _write(self) -> None:
        receipts = list(self._pending.values())
        if receipts:
            await self._journal.write(lambda connection: _save(connection, receipts))
            for receipt in receipts:
                if self._pending.get(receipt.trace_id) is receipt:
                    del self._pending[receipt.trace_id]


def _save(connection: sqlite3.Connection, receipts: Sequence[Receipt]) -> None:
    for receipt in receipts:
        spec = receipt.spec.canonical().decode()
        connection.execute("INSERT OR IGNORE INTO specs (json) VALUES (?)", (spec,))
        connection.execute(
            "INSERT OR REPLACE INTO receipts SELECT ?, ?, ?, id, ? FROM specs WHERE json = ?",
            (
                receipt.trace_id,
                receipt.context,
                pack(receipt.cut),
                bytes.fromhex(receipt.fingerprint),
                spec,
            ),
        )


def _load(connection: sqlite3.Connection, trace_id: str) -> Receipt | None:
    row = connection.execute(
        "SELECT context, cut, fingerprint, json FROM receipts JOIN specs ON specs.id = spec"
        " WHERE trace = ?",
        (trace_id,),
    ).fetchone()
    if row is None:
        return None
    return Receipt.from_json(
        {
            "trace_id": trace_id,
            "context": row[0],
            "cut": [hash_.hex() for hash_ in unpack(row[1])],
            "fingerprint": row[2].hex(),
            "spec": json.loads(row[3]),
        }
    )

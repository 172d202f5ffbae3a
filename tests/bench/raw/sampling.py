"""One reader whose every byte is kept, and read in full when the run is over.

Native: each record's hash, payload and signature chain are checked as a client would. Yjs: all
updates are applied to a document, whose events must be those that were sent. Must never know: how
fast anything was.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

import pycrdt

from tests.bench.raw.client import Dialect, Pool, RawFailure
from tests.bench.raw.servers import Server
from weft_engine.records.digest import payload_digest
from weft_engine.records.envelope import decode_envelope
from weft_engine.sync.framing.frames import decode_frame, decode_message
from weft_engine.sync.framing.messages import Fragment, Records


class Sampled:
    def __init__(self, pool: Pool, index: int, file: BinaryIO) -> None:
        self._pool, self._index, self._file = pool, index, file

    def begin(self) -> None:
        """From now on every message of this reader is kept."""
        self._pool[self._index].dump_fd = self._file.fileno()

    def messages(self) -> Iterator[bytes]:
        self._file.seek(0)
        while head := self._file.read(4):
            yield self._file.read(int.from_bytes(head, "little"))

    def check(self, server: Server, payloads: Sequence[bytes]) -> None:
        """RawFailure unless what came is just what was sent."""
        if server.dialect is Dialect.NATIVE:
            self._check_native(payloads)
        else:
            self._check_yjs(server, payloads)

    def _check_native(self, payloads: Sequence[bytes]) -> None:
        got: list[bytes] = []
        part = b""
        for data in self.messages():
            message = decode_frame(data)
            if isinstance(message, Fragment):
                part = message.data if message.index == 0 else part + message.data
                message = decode_message(part) if message.index + 1 == message.count else None
            if not isinstance(message, Records):
                continue
            for item in message.items:
                item.verify()
            for envelope, payload in message.records:
                if decode_envelope(envelope).payload_hash != payload_digest(payload):
                    raise RawFailure("a record came with a payload that is not its own")
                got.append(payload)
        if got != list(payloads):
            raise RawFailure("the sampled reader got other records, or in another order")

    def _check_yjs(self, server: Server, payloads: Sequence[bytes]) -> None:
        wanted: pycrdt.Doc[pycrdt.Map[str]] = pycrdt.Doc()
        found: pycrdt.Doc[pycrdt.Map[str]] = pycrdt.Doc()
        for payload in payloads:
            wanted.apply_update(payload)
        for data in self.messages():
            update = _update_in(data, has_name=server.dialect is Dialect.HOCUSPOCUS)
            if update is not None:
                found.apply_update(update)
        if wanted.get_state() != found.get_state() or wanted.get_update() != found.get_update():
            raise RawFailure("the sampled reader's document is another one than was sent")


@contextmanager
def sample(pool: Pool, index: int) -> Iterator[Sampled]:
    folder = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryFile(dir=folder) as file:
        yield Sampled(pool, index, file)


def _update_in(message: bytes, *, has_name: bool) -> bytes | None:
    """The update in a sync message; None for other messages."""
    at = 0
    if has_name:
        size, at = _var_uint(message, 0)
        at += size
    if message[at : at + 2] not in (b"\x00\x01", b"\x00\x02", b"\x04\x01", b"\x04\x02"):
        return None
    size, at = _var_uint(message, at + 2)
    return message[at : at + size]


def _var_uint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7

"""Pieces of Yjs updates written by hand, sound or not, for the tests of their reader."""

from __future__ import annotations

from weft_engine.yjs.lib0 import var_uint


def string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return var_uint(len(raw)) + raw


def in_root(content: int, body: bytes, *, root: str = "t") -> bytes:
    return bytes([content, 1]) + string(root) + body


def any_in_map(value: bytes, *, count: int = 1) -> bytes:
    return b"\x28\x01\x01m\x01k" + var_uint(count) + value


def update_of(
    *structs: bytes, client: int = 1, clock: int = 0, count: int | None = None, deletes: bytes = b""
) -> bytes:
    head = b"\x01" + var_uint(len(structs) if count is None else count)
    return head + var_uint(client) + var_uint(clock) + b"".join(structs) + (deletes or b"\x00")


X = any_in_map(b"\x77\x01x")


def chain_of_maps(length: int) -> bytes:
    first = b"\x27\x01\x01m\x01k\x01"
    inner = [b"\x27\x00\x01" + var_uint(clock) + b"\x01k\x01" for clock in range(length - 1)]
    return update_of(first, *inner)

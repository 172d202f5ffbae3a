"""Kinds of histories: each seed is one, unless another one is asked for."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    DEVICES = "devices"
    """A few devices at one to three relays, and Yjs clients."""
    MESH = "mesh"
    """Two to seven regions in any topology, up to twenty clients that move between them."""


def kind_of(seed: int) -> Kind:
    """Three of ten are about a mesh."""
    return Kind.MESH if seed % 10 in (2, 5, 8) else Kind.DEVICES

"""Changes the engine in this process."""

from __future__ import annotations

from typing import Any


def patch(owner: Any, name: str, value: Any) -> None:
    assert hasattr(owner, name), f"{owner} has no {name}: the mutant is out of date"
    setattr(owner, name, value)

"""Changes of the engine in this process that break a rule, and taking them back."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter
from typing import Any, Final

from tests.simulation.kinds import Kind

_ABSENT: Final = object()
_patched: Final[list[tuple[Any, str, Any]]] = []
"""What was there before; _ABSENT: it was inherited."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """`break_it` changes the engine in this process. None: the rule is of a part that is not
    there yet, so there is nothing to break. `test`: what notices it instead of histories, where
    all replicas go wrong alike, or get in the end what should have come sooner. `kind`: of the
    histories."""

    rule: str
    name: str
    break_it: Callable[[], None] | None
    test: str | None = None
    kind: Kind = Kind.DEVICES


def in_mesh(rule: str, name: str, break_it: Callable[[], None]) -> Mutant:
    return Mutant(rule, name, break_it, kind=Kind.MESH)


def patch(owner: Any, name: str, value: Any) -> None:
    """Put `value` in the place of what is there, which can be called the same way."""
    assert hasattr(owner, name), f"{owner} has no {name}: the mutant is out of date"
    problem = _problem(inspect.getattr_static(owner, name), value)
    assert problem is None, f"{owner}.{name} {problem}: the mutant is out of date"
    _patched.append((owner, name, vars(owner).get(name, _ABSENT)))
    setattr(owner, name, value)


def take_back() -> None:
    """The engine is as it was."""
    while _patched:
        owner, name, value = _patched.pop()
        if value is _ABSENT:
            delattr(owner, name)
        else:
            setattr(owner, name, value)


def _problem(before: Any, now: Any) -> str | None:
    """Why one can't stand in for the other."""
    if isinstance(before, property) != isinstance(now, property):
        return "is a property, or is none"
    if not (inspect.isfunction(before) and inspect.isfunction(now)):
        return None
    if inspect.iscoroutinefunction(before) != inspect.iscoroutinefunction(now):
        return "is waited for, or is not"
    parameters = inspect.signature(before).parameters.values()
    by_place = [one for one in parameters if one.kind not in (one.KEYWORD_ONLY, one.VAR_KEYWORD)]
    by_name = [one.name for one in parameters if one.kind is Parameter.KEYWORD_ONLY]
    try:
        inspect.signature(now).bind(*by_place, **dict.fromkeys(by_name))
    except TypeError as error:
        return f"is called otherwise ({error})"
    return None

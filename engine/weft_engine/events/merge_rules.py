"""Merge rules: what concurrent facts of one name amount to.

    last, first     the newest, the oldest by (time, id)
    max, min        the greatest, the least in the order of `json_order`; of equal ones the last
    union           an array of all that they hold, sorted and each once; an array stands for its
                    items, anything else for itself
    keep_all        an array of all values, oldest first
    name@version    what the application registered under that name and version

Only facts that don't replace one another come here, so one writer alone never needs a rule. All
rules are functions of the values in their order by (time, id), so they give the same on every
replica whatever arrived first. A registered rule is asked only where there is something to merge,
twice, and its two answers are compared. Must never know: storage, views.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from weft_engine.canonical import parse_json
from weft_engine.errors import CallerError, Conflict, InvalidMessage, PolicyBroken, PolicyMissing
from weft_engine.events.json_order import OrderKey, Tree, order_key, parse_tree, write_tree

MergeRule: TypeAlias = Callable[[tuple[str, ...]], str]
"""From JSON texts, oldest first and at least two, to the JSON text that they amount to. Pure."""


@dataclass(frozen=True, slots=True)
class Merged:
    """`value`: what holds, as JSON text. `others`: the distinct values that were not chosen, oldest
    first; empty if nobody disagrees or nothing is lost."""

    value: str
    others: tuple[str, ...] = ()


def merge(rule: str, values: Sequence[str]) -> Merged:
    """What `values`, JSON texts by (time, id) and at least one, amount to.

    PolicyMissing if this replica has no such rule, PolicyBroken if a registered one fails.
    """
    assert values, "nothing to merge"
    found = _RULES.get(rule)
    if found is not None:
        return found(values)
    if len(values) == 1:
        return Merged(values[0])
    return _ask(rule, tuple(values))


def register_merge_rule(name: str, version: int, rule: MergeRule) -> str:
    """Make `rule` known in this process; facts name it by what is returned, ``name@version``.

    Every replica that makes views of such facts must register the same function under this name
    and version. Conflict if another one is registered under them already.
    """
    if not name or "@" in name or name in _RULES or type(version) is not int or version < 0:
        raise CallerError(
            f"{name!r} version {version!r} can't name a merge rule",
            hint="use a name of your own without @, and a whole number from 0",
        )
    full = f"{name}@{version}"
    if _registered.setdefault(full, rule) is not rule:
        raise Conflict(
            f"another merge rule {full} is registered",
            hint="a rule that gives other answers needs another version",
        )
    return full


def known_rule(rule: str) -> str:
    """`rule` as facts name it: a registered name without a version stands for its highest one.
    PolicyMissing if there is no such rule here."""
    if rule in _RULES or rule in _registered:
        return rule
    versions = [int(full.rpartition("@")[2]) for full in _registered if full.startswith(f"{rule}@")]
    if not versions:
        raise _missing(rule)
    return f"{rule}@{max(versions)}"


def _last(values: Sequence[str]) -> Merged:
    return _chosen(values, len(values) - 1)


def _first(values: Sequence[str]) -> Merged:
    return _chosen(values, 0)


def _greatest(values: Sequence[str]) -> Merged:
    if len(values) == 1:
        return Merged(values[0])
    keys = _keys(values)
    return _chosen(values, max(range(len(values)), key=lambda index: (keys[index], index)), keys)


def _least(values: Sequence[str]) -> Merged:
    if len(values) == 1:
        return Merged(values[0])
    keys = _keys(values)
    return _chosen(values, min(range(len(values)), key=lambda index: (keys[index], -index)), keys)


def _union(values: Sequence[str]) -> Merged:
    # Of equal items that are written differently, the least text stands for all.
    texts: dict[OrderKey, str] = {}
    for value in values:
        tree = parse_tree(value)
        items: list[Tree] = tree if isinstance(tree, list) else [tree]
        for item in items:
            key, text = order_key(item), write_tree(item)
            known = texts.get(key)
            if known is None or (len(text), text) < (len(known), known):
                texts[key] = text
    return Merged(f"[{','.join(texts[key] for key in sorted(texts))}]")


def _keep_all(values: Sequence[str]) -> Merged:
    return Merged(f"[{','.join(values)}]")


_RULES: Final[Mapping[str, Callable[[Sequence[str]], Merged]]] = {
    "last": _last,
    "first": _first,
    "max": _greatest,
    "min": _least,
    "union": _union,
    "keep_all": _keep_all,
}
_registered: Final[dict[str, MergeRule]] = {}


def _chosen(values: Sequence[str], index: int, keys: Sequence[OrderKey] | None = None) -> Merged:
    """The value at `index`, and what differs from it."""
    if all(value == values[index] for value in values):
        return Merged(values[index])
    return Merged(values[index], _differing(values, keys or _keys(values), values[index]))


def _differing(values: Sequence[str], keys: Sequence[OrderKey], from_: str) -> tuple[str, ...]:
    seen = {order_key(parse_tree(from_))}
    others = []
    for value, key in zip(values, keys, strict=True):
        if key not in seen:
            seen.add(key)
            others.append(value)
    return tuple(others)


def _keys(values: Sequence[str]) -> list[OrderKey]:
    return [order_key(parse_tree(value)) for value in values]


def _ask(rule: str, values: tuple[str, ...]) -> Merged:
    function = _registered.get(rule)
    if function is None:
        raise _missing(rule)
    try:
        answers = (function(values), function(values))
    except Exception as error:
        raise PolicyBroken(f"the merge rule {rule} failed: {error!r}") from error
    if answers[0] != answers[1]:
        raise PolicyBroken(f"the merge rule {rule} gave two answers to one question")
    try:
        if not isinstance(answers[0], str):
            raise InvalidMessage(f"{type(answers[0]).__name__} is no text")
        parse_json(answers[0], floats=True)
    except InvalidMessage as error:
        raise PolicyBroken(f"the merge rule {rule} gave no JSON text: {error.message}") from error
    return Merged(answers[0], _differing(values, _keys(values), answers[0]))


def _missing(rule: str) -> PolicyMissing:
    known = ", ".join((*_RULES, *sorted(_registered)))
    return PolicyMissing(
        f"no merge rule {rule!r}",
        hint=f"register it, or replace the fact; this replica has {known}",
    )

"""Names and ids in the form that an API takes: what fits stays, what does not is mapped.

The mapping depends on the string alone, and different strings stay different: what is changed gets
the beginning of its digest. Must never know: messages.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

CHAT_ID_CHARS_MAX: Final = 40
"""Of tool call ids in the OpenAI chat API. (Some of its deployments take 64, older ones do not.)"""
RESPONSES_ID_CHARS_MAX: Final = 64
ANTHROPIC_ID_CHARS_MAX: Final = 64
OPENAI_NAME_CHARS_MAX: Final = 64
ANTHROPIC_NAME_CHARS_MAX: Final = 128
PARTICIPANT_CHARS_MAX: Final = 64

WHITESPACE: Final = (
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007"
    "\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
)
"""Written out, because what Python takes for white space changes with its Unicode tables."""

_DIGEST_BYTES: Final = 4
_PLAIN: Final = re.compile(r"[a-zA-Z0-9_-]+", re.ASCII)
_NOT_PLAIN: Final = re.compile(r"[^a-zA-Z0-9_-]+", re.ASCII)
_NOT_IN_PARTICIPANT: Final = re.compile(f"[{WHITESPACE}<|\\\\/>]")


def is_blank(text: str) -> bool:
    """Whether `text` is empty or nothing but white space."""
    return not text.strip(WHITESPACE)


def without_trailing_space(text: str) -> str:
    return text.rstrip(WHITESPACE)


def fit_tool_name(name: str, chars_max: int) -> str:
    """``^[a-zA-Z0-9_-]{1,chars_max}$``"""
    if len(name) <= chars_max and _PLAIN.fullmatch(name):
        return name
    return _marked(_NOT_PLAIN.sub("_", name), name, chars_max)


def fit_plain_id(id_: str, chars_max: int) -> str:
    """``^[a-zA-Z0-9_-]{1,chars_max}$``"""
    return fit_tool_name(id_, chars_max)


def fit_id(id_: str, chars_max: int) -> str:
    """1 to `chars_max` characters of any kind."""
    if 0 < len(id_) <= chars_max:
        return id_
    return _marked(id_, id_, chars_max)


def fit_participant(name: str) -> str | None:
    """1 to PARTICIPANT_CHARS_MAX characters, none of them white space or one of ``<|\\/>``; None if
    there is no character. It is only shown, so two that become alike do no harm."""
    return _NOT_IN_PARTICIPANT.sub("_", name)[:PARTICIPANT_CHARS_MAX] or None


class Labels:
    """Ids of tool calls for one view: fitting, and no two alike, however they come in."""

    __slots__ = ("_chars_max", "_current", "_fit", "_taken")

    def __init__(self, fit: Callable[[str, int], str], chars_max: int) -> None:
        self._fit = fit
        self._chars_max = chars_max
        self._taken: set[str] = set()
        self._current: dict[str, str] = {}

    def of_call(self, id_: str) -> str:
        """The label of a call. Results that come after it and bear `id_` answer it."""
        label = self._fit(id_, self._chars_max)
        uses = 1
        while label in self._taken:
            uses += 1
            label = _marked(_NOT_PLAIN.sub("_", id_), f"{id_}~{uses}", self._chars_max)
        self._taken.add(label)
        self._current[id_] = label
        return label

    def of_result(self, id_: str) -> str:
        label = self._current.get(id_)
        return self._fit(id_, self._chars_max) if label is None else label


def _marked(readable: str, original: str, chars_max: int) -> str:
    digest = blake2b(original.encode(), digest_size=_DIGEST_BYTES).hexdigest()
    return f"{readable[: chars_max - len(digest) - 1] or 'x'}_{digest}"

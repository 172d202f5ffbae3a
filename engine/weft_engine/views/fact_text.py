"""Facts as text that a model reads: a line of the list, or a notice in the window.

A line is `name: value`, the value as JSON, so nothing in a value can look like a line or a heading
of ours; a name that could is written as a JSON string. Must never know: budgets, where it stands.
"""

from __future__ import annotations

import re
from json.encoder import encode_basestring
from typing import Final

from weft_engine.events.event import Message, Role
from weft_engine.events.facts import StandingFact, is_withdrawal
from weft_engine.events.json_order import parse_tree, write_tree
from weft_engine.events.part import Text

HEADING: Final = "[facts]"
NOTICE_HEADING: Final = "[fact]"
NOTICE_CHARS_MAX: Final = 2_000
"""What a notice shows of a value; the list of facts, where it goes next, may have more room."""
NAME_CHARS_MAX: Final = 200
OTHERS_SHOWN_MAX: Final = 4
_OTHER_CHARS_MAX: Final = 200
_MARK_CHARS: Final = 48
"""What is longer by no more than this stays whole: the mark would take as much."""
_UNLIKE_A_NAME: Final = re.compile('[\x00-\x1f\x7f-\x9f\u2028\u2029":\\[\\]]')


def fact_line(fact: StandingFact, keep: int) -> str:
    """One line; of a value longer than `keep` characters, its beginning and its end."""
    line = f"{_name(fact.name)}: {_cut(_one_line(fact.value), keep)}"
    if not fact.others:
        return line
    shown = [
        _cut(_one_line(other), min(keep, _OTHER_CHARS_MAX))
        for other in fact.others[-OTHERS_SHOWN_MAX:]
    ]
    more = len(fact.others) - len(shown)
    also = f" and {more} more" if more else ""
    return f"{line} (others say {', '.join(shown)}{also})"


def fact_notice(fact: StandingFact) -> Message:
    """A fact of `FactBook.since`, as a window shows it: as it was said, whatever stands now, so
    that what a window shows does not change when more is said."""
    if is_withdrawal(fact.value):
        text = f"{NOTICE_HEADING} {_name(fact.name)} no longer holds"
    else:
        text = f"{NOTICE_HEADING} {fact_line(fact, NOTICE_CHARS_MAX)}"
    return Message(Role.USER, (Text(text),))


def _name(name: str) -> str:
    short = _cut(name, NAME_CHARS_MAX)
    plain = short == short.strip() and short and not _UNLIKE_A_NAME.search(name)
    return short if plain else encode_basestring(short)


def _one_line(value: str) -> str:
    """JSON may have line ends between its tokens, and none within them."""
    return write_tree(parse_tree(value)) if "\n" in value or "\r" in value else value


def _cut(text: str, keep: int) -> str:
    if len(text) <= keep + _MARK_CHARS:
        return text
    end = keep // 2
    mark = f"[... {len(text) - keep} characters left out ...]"
    return f"{text[: keep - end]} {mark} {text[len(text) - end :]}"

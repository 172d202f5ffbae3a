"""The spec of a view: everything besides the history that its bytes depend on.

Written in a receipt, so its JSON is a format: it changes only with a new renderer. Must never
know: the history, where it is kept, what a view looks like.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from weft_engine.canonical import canonical_json, json_path, parse_json
from weft_engine.errors import InvalidMessage, RendererMismatch
from weft_engine.events.event import PolicyChoice
from weft_engine.formats.registry import DEFAULT_FORMAT, FORMAT_NAMES
from weft_engine.limits import INTEGER_MAX
from weft_engine.names import EventId, is_event_id
from weft_engine.views.count import ToolSet
from weft_engine.views.media import DEFAULT_MEDIA, MediaTable
from weft_engine.views.policies import LastN
from weft_engine.views.policy import Policy, choice_of
from weft_engine.views.tokenizer import DEFAULT_TOKENIZER, TokenizerId

RENDERER: Final = 2
"""Grows when any byte of any view changes for the same history and the same rest of the spec."""
RESERVED_DIVISOR: Final = 8

_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_FIELDS: Final = frozenset(
    {"as_of", "branch", "budget", "format", "media", "policy", "renderer", "reserved"}
    | {"surplus", "tokenizer", "tools"}
)


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """Make it with `view_spec` or `from_json`, which check it.

    `budget`, `reserved` and `surplus` in tokens; `tools` = digest of the tool definitions, for
    which `surplus` is reserved in addition if `reserved` can't hold them; `as_of` in milliseconds
    since 1970.
    """

    budget: int
    reserved: int
    policy: PolicyChoice
    tokenizer: TokenizerId = DEFAULT_TOKENIZER
    tools: str | None = None
    format: str = DEFAULT_FORMAT
    branch: EventId | None = None
    as_of: int | None = None
    media: MediaTable = DEFAULT_MEDIA
    surplus: int = 0
    renderer: int = RENDERER

    def to_json(self) -> dict[str, object]:
        return {
            "as_of": self.as_of,
            "branch": self.branch,
            "budget": self.budget,
            "format": self.format,
            "media": {
                "audio": self.media.audio,
                "file": self.media.file,
                "image": self.media.image,
            },
            "policy": {
                "config": parse_json(self.policy.config),
                "name": self.policy.name,
                "version": self.policy.version,
            },
            "renderer": self.renderer,
            "reserved": self.reserved,
            "surplus": self.surplus,
            "tokenizer": {
                "name": self.tokenizer.name,
                "pattern": self.tokenizer.pattern,
                "vocabulary": self.tokenizer.vocabulary,
            },
            "tools": self.tools,
        }

    @classmethod
    def from_json(cls, value: object, path: str = "$") -> ViewSpec:
        """The spec that `to_json` gave. RendererMismatch if another renderer made it, else
        InvalidMessage with the path of what is wrong. Whether this replica has the policy and
        the tokenizer is seen when a view is built."""
        fields = _object(value, path)
        # First, because another renderer may have other fields.
        renderer = _integer(fields, "renderer", path)
        if renderer != RENDERER:
            raise RendererMismatch(
                f"made by renderer {renderer}, this is renderer {RENDERER}",
                hint="replay it with the version of weft that made it",
            )
        check_fields(fields, _FIELDS, path)
        tools = fields["tools"]
        as_of = None if fields["as_of"] is None else _integer(fields, "as_of", path)
        return cls(
            budget=_positive(fields, "budget", path),
            reserved=_integer(fields, "reserved", path),
            policy=_policy(fields, "policy", path),
            tokenizer=_tokenizer(fields, "tokenizer", path),
            tools=None if tools is None else check_digest(tools, json_path(path, "tools")),
            format=_format(fields, "format", path),
            branch=_branch(fields, "branch", path),
            as_of=as_of,
            media=_media(fields, "media", path),
            surplus=_integer(fields, "surplus", path),
        )

    @property
    def room(self) -> int:
        """What may be used: what of the budget is not reserved."""
        return self.budget - self.reserved - self.surplus

    def canonical(self) -> bytes:
        """RFC 8785 JSON: what the view's fingerprint covers."""
        return _canonical(self)


def view_spec(
    *,
    budget: int,
    reserved: int | None = None,
    tools: ToolSet | None = None,
    policy: Policy | None = None,
    tokenizer: TokenizerId = DEFAULT_TOKENIZER,
    media: MediaTable = DEFAULT_MEDIA,
    format: str = DEFAULT_FORMAT,  # noqa: A002 - the field's word
    branch: EventId | None = None,
    as_of: int | None = None,
) -> ViewSpec:
    """A checked spec. `reserved` (default: an eighth of the budget) is for the tools and the reply;
    tools that it can't hold are reserved for in addition, so that it is left for the reply."""
    checked = _positive({"budget": budget}, "budget", "$")
    if reserved is None:
        reserved = checked // RESERVED_DIVISOR
    surplus = 0 if tools is None or tools.tokens <= reserved else tools.tokens
    spec = ViewSpec(
        budget=budget,
        reserved=reserved,
        policy=choice_of(LastN() if policy is None else policy),
        tokenizer=tokenizer,
        tools=None if tools is None else tools.digest,
        media=media,
        format=format,
        branch=branch,
        as_of=as_of,
        surplus=surplus,
    )
    return ViewSpec.from_json(spec.to_json())


# A store builds thousands of views of few specs, and writing one takes longer than hashing.
@lru_cache(maxsize=256)
def _canonical(spec: ViewSpec) -> bytes:
    return canonical_json(spec.to_json())


# ---- checks: the value of a field, or InvalidMessage with its path ------------------------------

Fields = Mapping[str, object]


def check_fields(value: object, keys: frozenset[str], path: str) -> Fields:
    """`value` as an object with exactly these keys."""
    fields = _object(value, path)
    if fields.keys() != keys:
        odd = ", ".join(sorted(map(str, fields.keys() ^ keys)))
        raise InvalidMessage(f"missing or unknown: {odd}", path=path)
    return fields


def check_text(fields: Fields, key: str, path: str) -> str:
    value = fields[key]
    if not isinstance(value, str) or not value:
        raise InvalidMessage("a text was expected", path=json_path(path, key))
    return value


def check_digest(value: object, path: str) -> str:
    if not isinstance(value, str) or _DIGEST.fullmatch(value) is None:
        raise InvalidMessage("64 lower hex digits were expected", path=path)
    return value


def _object(value: object, path: str) -> Fields:
    if not isinstance(value, Mapping):
        raise InvalidMessage("an object was expected", path=path)
    return value


def _integer(fields: Fields, key: str, path: str) -> int:
    value = fields.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= INTEGER_MAX:
        raise InvalidMessage(
            f"a whole number from 0 to {INTEGER_MAX} was expected, not {value!r}",
            path=json_path(path, key),
        )
    return value


def _positive(fields: Fields, key: str, path: str) -> int:
    value = _integer(fields, key, path)
    if value == 0:
        raise InvalidMessage("a number above 0 was expected, not 0", path=json_path(path, key))
    return value


def _branch(fields: Fields, key: str, path: str) -> EventId | None:
    value = fields[key]
    if value is None:
        return None
    if not isinstance(value, str) or not is_event_id(value):
        raise InvalidMessage("an event id was expected", path=json_path(path, key))
    return EventId(value)


def _format(fields: Fields, key: str, path: str) -> str:
    name = check_text(fields, key, path)
    if name not in FORMAT_NAMES:
        raise InvalidMessage(
            f"views are made in the formats {', '.join(FORMAT_NAMES)}", path=json_path(path, key)
        )
    return name


def _policy(fields: Fields, key: str, path: str) -> PolicyChoice:
    path = json_path(path, key)
    policy = check_fields(fields[key], frozenset({"name", "version", "config"}), path)
    config = canonical_json(_object(policy["config"], json_path(path, "config"))).decode()
    parse_json(config)  # no floats in a view
    return PolicyChoice(
        name=check_text(policy, "name", path),
        version=_integer(policy, "version", path),
        config=config,
    )


def _tokenizer(fields: Fields, key: str, path: str) -> TokenizerId:
    path = json_path(path, key)
    which = check_fields(fields[key], frozenset({"name", "vocabulary", "pattern"}), path)
    return TokenizerId(
        name=check_text(which, "name", path),
        vocabulary=check_digest(which["vocabulary"], json_path(path, "vocabulary")),
        pattern=check_digest(which["pattern"], json_path(path, "pattern")),
    )


def _media(fields: Fields, key: str, path: str) -> MediaTable:
    path = json_path(path, key)
    table = check_fields(fields[key], frozenset({"audio", "file", "image"}), path)
    return MediaTable(
        image=_integer(table, "image", path),
        audio=_integer(table, "audio", path),
        file=_integer(table, "file", path),
    )

"""The same question asked of the SDKs' own types: their TypedDicts, read strictly by pydantic.

They know shapes only, nothing of what must stand beside what. Oddities: a field that is an
`Iterable` is checked only when it is read, so everything is read; while it is read the adapter
must stay alive; fields that Anthropic's types don't know pass in blocks, for those types are
recursive and pydantic reads them without our setting. Must never know: our own rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from anthropic.types import MessageParam, TextBlockParam
from openai.types.chat import ChatCompletionMessageParam
from openai.types.responses import ResponseInputParam
from pydantic import ConfigDict, TypeAdapter, ValidationError

_STRICT: Final = ConfigDict(extra="forbid", strict=True)
_CHAT: Final[TypeAdapter[Any]] = TypeAdapter(list[ChatCompletionMessageParam], config=_STRICT)
_RESPONSES: Final[TypeAdapter[Any]] = TypeAdapter(ResponseInputParam, config=_STRICT)
_MESSAGES: Final[TypeAdapter[Any]] = TypeAdapter(list[MessageParam], config=_STRICT)
_SYSTEM: Final[TypeAdapter[Any]] = TypeAdapter(str | list[TextBlockParam], config=_STRICT)


def refused(format_name: str, sent: Any) -> str | None:
    """What the SDK's types have against `sent`, None if they have nothing."""
    try:
        match format_name:
            case "openai":
                _read(_CHAT.validate_python([_without_tool_name(said) for said in sent]))
            case "responses":
                _read(_RESPONSES.validate_python(sent))
            case "anthropic":
                _read(_MESSAGES.validate_python(sent["messages"]))
                if "system" in sent:
                    _read(_SYSTEM.validate_python(sent["system"]))
            case _:
                raise ValueError(f"no SDK has types for the format {format_name!r}")
    except ValidationError as error:
        return str(error)
    return None


def _without_tool_name(said: Mapping[str, object]) -> dict[str, object]:
    """The API takes `name` in a tool message, the types don't know it."""
    hidden = {"name"} if said.get("role") == "tool" else set()
    return {key: value for key, value in said.items() if key not in hidden}


def _read(value: object) -> None:
    if isinstance(value, Mapping):
        for inner in value.values():
            _read(inner)
    elif isinstance(value, Iterable) and not isinstance(value, str):
        for inner in value:
            _read(inner)

"""Messages as a file of the OpenAI Responses format holds them: items.

What was imported from this format and kept its original gives that; anything else is built from its
parts, exactly, whether the API would take it or not. Must never know: contexts, budgets, views.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from weft_engine.events.event import Message, Role
from weft_engine.events.part import Call, File, Opaque, Part, Reasoning, Refusal, Result, Text
from weft_engine.formats.kept import kept_object, kept_original
from weft_engine.formats.responses_content import FORMAT, PROVIDER, file_content
from weft_engine.formats.verbatim_json import Verbatim, verbatim

ITEM_FORMAT: Final = f"{FORMAT}.item"
"""The format of an opaque part that is a whole item."""

Members = dict[str, Verbatim]


def export_message(message: Message) -> list[Verbatim]:
    """The items that stand for `message`."""
    original = kept_original(message, FORMAT)
    if isinstance(original, list):
        return original
    if message.role in (Role.ASSISTANT, Role.TOOL):
        return [item for part in message.parts if (item := _item(part)) is not None]
    results = [_result(part) for part in message.parts if isinstance(part, Result)]
    content = _content(message.parts)
    said: Members = {"role": message.role.value, "content": content}
    return [*results, said] if content else results


def _item(part: Part) -> Verbatim:
    match part:
        case Text(text):
            return {"role": "assistant", "content": text}
        case Refusal(text):
            content: list[Verbatim] = [{"type": "refusal", "refusal": text}]
            return {"type": "message", "role": "assistant", "content": content}
        case Reasoning(provider=provider) if provider == PROVIDER:
            return _reasoning(part)
        case Call():
            item: Members = {"type": "function_call"}
            if part.item_id is not None:
                item["id"] = part.item_id
            return {**item, "call_id": part.id, "name": part.name, "arguments": part.args}
        case Result():
            return _result(part)
        case Opaque(format=format_, json=text) if format_ == ITEM_FORMAT:
            return kept_object(text)
        case _:
            return None


def _reasoning(part: Reasoning) -> Verbatim:
    item: Members = {"type": "reasoning"}
    if part.item_id is not None:
        item["id"] = part.item_id
    summary: list[Verbatim] = []
    if part.text is not None:
        summary.append({"type": "summary_text", "text": part.text})
    item["summary"] = summary
    if part.data is not None:
        item["encrypted_content"] = part.data
    return item


def _result(result: Result) -> Verbatim:
    out = result.out if isinstance(result.out, str) else _list(result.out)
    return {"type": "function_call_output", "call_id": result.id, "output": out}


def _content(parts: tuple[Part, ...]) -> Verbatim:
    """One text is a string, anything else an array; an empty one says nothing."""
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    return _list(parts)


def _list(parts: Iterable[Part]) -> list[Verbatim]:
    return [said for part in parts if (said := exact_content(part)) is not None]


def exact_content(part: Part) -> Verbatim:
    """The content part that says exactly what `part` does, None if there is none."""
    match part:
        case Text(text):
            return {"type": "input_text", "text": text}
        case File():
            said = file_content(part)
            return None if said is None else verbatim(said)
        case Opaque(format="responses", json=text):
            return kept_object(text)
        case _:
            return None

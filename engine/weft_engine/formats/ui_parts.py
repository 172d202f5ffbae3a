"""Parts as parts of a UIMessage of the Vercel AI SDK (version 5).

Must never know: steps, messages, views.
"""

from __future__ import annotations

from typing import Final

from weft_engine.errors import InvalidMessage
from weft_engine.events.part import (
    Call,
    Data,
    File,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Result,
    Source,
    Text,
)
from weft_engine.formats.kept import kept_object, kept_tree
from weft_engine.formats.verbatim_json import Verbatim, write_verbatim

FORMAT: Final = "ui"
PROVIDER: Final = "ui"
"""The provider of reasoning that does not say whose it is."""
STEP_START: Final = "step-start"
TOOL: Final = "tool-"
DYNAMIC_TOOL: Final = "dynamic-tool"
DATA: Final = "data-"
WAITING: Final = "input-available"
ANSWERED: Final = "output-available"
FAILED: Final = "output-error"

Members = dict[str, Verbatim]


def step_start() -> Members:
    return {"type": STEP_START}


def said_part(part: Part) -> Verbatim:
    """The part that says what `part` does; None for calls and results, which share one, and for
    what has none."""
    match part:
        case Text(text) | Refusal(text):
            return {"type": "text", "text": text}
        case Reasoning():
            return _reasoning(part)
        case File():
            return _file(part)
        case Source(json=text):
            return _source(text)
        case Data(name, json=text):
            try:
                return {"type": f"{DATA}{name}", "data": kept_tree(text)}
            except InvalidMessage:
                return None
        case Opaque(format="ui", json=text):
            return kept_object(text)
        case _:
            return None


def call_part(call: Call) -> Members:
    """The part of a tool call that waits."""
    said: Members = {"type": f"{TOOL}{call.name}", "toolCallId": call.id, "state": WAITING}
    said["input"] = input_of(call.args)
    return said


def answer(part: Members, result: Result) -> None:
    """Puts a result into the part of its call."""
    if result.error:
        part["state"] = FAILED
        part["errorText"] = output_text(result)
    else:
        part["state"] = ANSWERED
        part["output"] = output_of(result)


def orphan_part(result: Result) -> Members:
    """The part of a result whose call is not here."""
    said: Members = {"type": DYNAMIC_TOOL, "toolName": result.name or "unknown"}
    said |= {"toolCallId": result.id, "state": WAITING, "input": {}}
    answer(said, result)
    return said


def input_of(args: str) -> Verbatim:
    """Tool arguments as the value that a part has as input: a string that is no JSON stays one."""
    try:
        return kept_tree(args)
    except InvalidMessage:
        return args


def args_of(value: Verbatim) -> str:
    """The arguments whose `input_of` is `value`."""
    if isinstance(value, str) and input_of(value) is value:
        return value
    return write_verbatim(value)


def output_of(result: Result) -> Verbatim:
    if isinstance(result.out, str):
        return result.out
    return [said for part in result.out if (said := said_part(part)) is not None]


def output_text(result: Result) -> str:
    said = output_of(result)
    return said if isinstance(said, str) else write_verbatim(said)


def _reasoning(part: Reasoning) -> Verbatim:
    said: Members = {"type": "reasoning", "text": part.text or ""}
    told: Members = {}
    match part.provider:
        case "anthropic":
            told = _present(signature=part.sig, redactedData=part.data)
        case "openai":
            told = _present(itemId=part.item_id, reasoningEncryptedContent=part.data)
        case _:
            pass
    if told:
        said["providerMetadata"] = {part.provider: told}
    return said


def _present(**values: str | None) -> Members:
    return {name: value for name, value in values.items() if value is not None}


def _file(file: File) -> Verbatim:
    if file.url is None:
        return None
    said: Members = {"type": "file", "mediaType": file.media_type}
    if file.name is not None:
        said["filename"] = file.name
    said["url"] = file.url
    return said


def _source(text: str) -> Verbatim:
    tree = kept_object(text)
    is_source = isinstance(tree, dict) and tree.get("type") in ("source-url", "source-document")
    return tree if is_source else None

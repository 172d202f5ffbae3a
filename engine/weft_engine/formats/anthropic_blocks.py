"""Parts as content blocks of the Anthropic Messages API.

Both directions of a file build on it: what is sent in a view and what goes back into a file. Must
never know: turns, views, where a message came from.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Final

from weft_engine.events.part import File, Opaque, Part, Reasoning, Text
from weft_engine.formats.attachments import ANY_IMAGE, IMAGE_TYPES
from weft_engine.formats.fitting import is_blank
from weft_engine.formats.sendable import sendable_object

FORMAT: Final = "anthropic"
PROVIDER: Final = "anthropic"
DATA_URL: Final = "data:"
PDF: Final = "application/pdf"
PLAIN: Final = "text/plain"

_BASE64: Final = re.compile(r"(?:[A-Za-z0-9+/]{4})+|(?:[A-Za-z0-9+/]{4})*[A-Za-z0-9+/]{2,3}={1,2}")

Json = dict[str, object]


def text_block(text: str) -> Json:
    return {"type": "text", "text": text}


def thinking_block(part: Reasoning) -> Json | None:
    """The block of a model's thinking; None for what another provider made, or what has neither a
    signature nor its encrypted form: that is refused."""
    if part.provider != PROVIDER:
        return None
    if part.data is not None and part.text is None and part.sig is None:
        return {"type": "redacted_thinking", "data": part.data}
    if part.sig and part.text is not None and part.data is None:
        return {"type": "thinking", "thinking": part.text, "signature": part.sig}
    return None


def file_block(file: File) -> Json | None:
    """The block for an attachment, or None where the API takes none: it wants images and PDF by
    their bytes or an address, and plain text by its bytes."""
    url = file.url
    if url is None:
        return None
    if url.startswith(DATA_URL):
        return _inline_block(url, file.name)
    if not url.startswith(("https://", "http://")):
        return None
    source: Json = {"type": "url", "url": url}
    if file.media_type in (*IMAGE_TYPES, ANY_IMAGE):
        return {"type": "image", "source": source}
    if file.media_type == PDF:
        return _document(source, file.name)
    return None


def sendable_blocks(parts: Iterable[Part]) -> list[Json]:
    """What of these parts a user or a tool may say. Text that is blank is refused by the API, so
    it is left out, and nothing remains of parts of other formats."""
    blocks: list[Json] = []
    for part in parts:
        match part:
            case Text(text):
                if not is_blank(text):
                    blocks.append(text_block(text))
            case File():
                attached = file_block(part)
                if attached is not None:
                    blocks.append(attached)
            case Opaque(format="anthropic", json=text):
                own = _own_block(text)
                if own is not None:
                    blocks.append(own)
            case _:
                pass
    return blocks


def _inline_block(url: str, name: str | None) -> Json | None:
    head, comma, data = url[len(DATA_URL) :].partition(";base64,")
    if not comma or not _BASE64.fullmatch(data):
        return None
    source: Json = {"type": "base64", "media_type": head, "data": data}
    if head in IMAGE_TYPES:
        return {"type": "image", "source": source}
    if head == PDF:
        return _document(source, name)
    if head == PLAIN:
        try:
            text = base64.b64decode(data, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
        if is_blank(text):
            return None
        return _document({"type": "text", "media_type": PLAIN, "data": text}, name)
    return None


def _document(source: Json, name: str | None) -> Json:
    said: Json = {"type": "document", "source": source}
    if name:
        said["title"] = name
    return said


def _own_block(text: str) -> Json | None:
    """A block that came from this format and has no counterpart here, if a user may send it: text,
    and files that are kept by the provider. Marks for its cache are the caller's to set."""
    block = sendable_object(text)
    match block:
        case {"type": "text", "text": str(said)} if not is_blank(said):
            return text_block(said)
        case {
            "type": "image" | "document" as kind,
            "source": {"type": "file", "file_id": str(id_)},
        }:
            return {"type": kind, "source": {"type": "file", "file_id": id_}}
        case _:
            return None

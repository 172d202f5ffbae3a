"""Content of messages and results in the OpenAI Responses API.

Must never know: items, turns, views.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from weft_engine.events.part import File, Opaque, Part, Text
from weft_engine.formats.attachments import is_unseen_image, remark_of
from weft_engine.formats.sendable import sendable_object

FORMAT: Final = "responses"
PROVIDER: Final = "openai"
DATA_URL: Final = "data:"
DETAIL: Final = "auto"

_DETAILS: Final = ("low", "high", "auto", "original")
_FILE_NAMES: Final = {"application/pdf": "file.pdf", "text/plain": "file.txt"}
_WEB: Final = ("https://", "http://")

Json = dict[str, object]


def input_content(parts: Iterable[Part], *, files: bool) -> list[Json]:
    """What of these parts goes into a model: texts and, with `files`, attachments. Nothing remains
    of parts of other formats."""
    said: list[Json] = []
    for part in parts:
        match part:
            case Text(text) if text:
                said.append({"type": "input_text", "text": text})
            case File() if files and is_unseen_image(part):
                said.append({"type": "input_text", "text": remark_of(part)})
            case File() if files:
                attached = file_content(part)
                if attached is not None:
                    said.append(attached)
            case Opaque(format="responses", json=text):
                own = _own_content(text, files)
                if own is not None:
                    said.append(own)
            case _:
                pass
    return said


def text_or_list(content: list[Json]) -> str | list[Json]:
    """One text is a string, anything else an array."""
    if len(content) == 1 and content[0].keys() == {"type", "text"}:
        text = content[0]["text"]
        assert isinstance(text, str)
        return text
    return content


def file_content(file: File) -> Json | None:
    """The content part for an attachment, or None where the API takes none: it wants images and
    documents by their bytes or an address, and no sound."""
    url = file.url
    if url is None or not url.startswith((*_WEB, DATA_URL)):
        return None
    if file.media_type.startswith("image/"):
        if url.startswith(DATA_URL) and not url.startswith(f"{DATA_URL}image/"):
            return None
        return {"type": "input_image", "image_url": url, "detail": DETAIL}
    if file.media_type.startswith(("audio/", "video/")):
        return None
    if not url.startswith(DATA_URL):
        return {"type": "input_file", "file_url": url}
    name = file.name or _FILE_NAMES.get(file.media_type, "file")
    return {"type": "input_file", "filename": name, "file_data": url}


def _own_content(text: str, files: bool) -> Json | None:
    """Content that came from this format and has no counterpart here, if it can be sent: text, and
    files that are kept by the provider. Marks for its cache are the caller's to set."""
    match sendable_object(text):
        case {"type": "input_text" | "text", "text": str(said)} if said:
            return {"type": "input_text", "text": said}
        case {"type": "input_image", "file_id": str(id_), **rest} if files and id_:
            detail = rest.get("detail")
            known = detail if detail in _DETAILS else DETAIL
            return {"type": "input_image", "file_id": id_, "detail": known}
        case {"type": "input_image", "image_url": str(url), "detail": str(detail)} if (
            files and detail in _DETAILS and url.startswith((*_WEB, f"{DATA_URL}image/"))
        ):
            return {"type": "input_image", "image_url": url, "detail": detail}
        case {"type": "input_file", "file_id": str(id_)} if files and id_:
            return {"type": "input_file", "file_id": id_}
        case _:
            return None

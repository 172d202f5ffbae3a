"""Independent validators: whether a provider would take what a view sends.

Written from what the providers publish and from the errors their APIs give, and checked against
the types of their own SDKs (`sdk_types`). Where sources differ, the stricter rule counts. Must
never know: the renderers, views, or anything else of Weft.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from tests.validators import anthropic, openai_chat, responses

VALIDATORS: Final[Mapping[str, Callable[[object], list[str]]]] = {
    "openai": openai_chat.validate,
    "responses": responses.validate,
    "anthropic": anthropic.validate,
}
"""By the name of the format: from the value that is sent to what is wrong with it, each with its
path; empty if nothing is."""

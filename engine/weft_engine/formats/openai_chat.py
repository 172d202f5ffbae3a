"""The OpenAI chat format, in and out: the one module to import from.

Must never know: anything itself; it gathers what its neighbours define.
"""

from weft_engine.formats.conversation_file import (
    Conversation,
    import_conversation,
    read_conversation,
    write_conversation,
)
from weft_engine.formats.openai_export import FORMAT, export_message, export_text, render
from weft_engine.formats.openai_import import SupportsModelDump, import_message
from weft_engine.formats.result_links import link_conversation, link_results

__all__ = [
    "FORMAT",
    "Conversation",
    "SupportsModelDump",
    "export_message",
    "export_text",
    "import_conversation",
    "import_message",
    "link_conversation",
    "link_results",
    "read_conversation",
    "render",
    "write_conversation",
]

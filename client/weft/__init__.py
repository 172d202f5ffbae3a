"""Weft: an offline-first context store for LLM applications and agents.

    async with weft.open("agent.db") as store:
        chat = store.context("acme/chat-42")
        await chat.append("Hi")
        view = await chat.view(budget=8_000)

Everything an application needs is named here; what is not named here may change.
"""

from importlib.metadata import version as _version

from weft.link import Link
from weft.status import Connection, LinkStatus, RegionStatus, StoreStatus
from weft.store import ContextInfo, Store, verify
from weft.store import open_store as open  # noqa: A004 - `weft.open` is meant to read like `open`
from weft_engine.errors import (
    BudgetTooSmall,
    Conflict,
    ContextClosed,
    ErasedContent,
    InvalidMessage,
    InvalidName,
    LimitExceeded,
    LinkRefused,
    MissingRecords,
    NewerFormat,
    NotAStore,
    NotFound,
    OlderFormat,
    OverBudget,
    PolicyBroken,
    PolicyMissing,
    RendererMismatch,
    ReplayMismatch,
    StoreClosed,
    StoreError,
    StoreLocked,
    TokenizerMissing,
    WeftError,
)
from weft_engine.events.event import Message
from weft_engine.events.merge_rules import register_merge_rule
from weft_engine.replica.branches import BranchInfo
from weft_engine.replica.compacting import SummaryInfo
from weft_engine.replica.context import Context
from weft_engine.replica.facts import KnownFact
from weft_engine.replica.history import Said
from weft_engine.replica.past import Past
from weft_engine.replica.presence import PresenceChange, Shown
from weft_engine.replica.search_hit import Hit
from weft_engine.replica.stream import Stream
from weft_engine.replica.streams import OpenStream
from weft_engine.replica.summarizing import ToSummarize
from weft_engine.replica.unsynced import Unsynced
from weft_engine.replica.watching import Change, Grown
from weft_engine.storage.erasures import ErasureRow as Erasure
from weft_engine.sync.faults import LinkLost
from weft_engine.views.custom_policy import Chosen, Custom, Item, Selection, register_policy
from weft_engine.views.decay import Decay
from weft_engine.views.policies import LastN, Manual, SkipParts
from weft_engine.views.receipt import Receipt
from weft_engine.views.summarize import Summarize
from weft_engine.views.view import View

__version__ = _version("weft")

__all__ = [
    "BranchInfo",
    "BudgetTooSmall",
    "Change",
    "Chosen",
    "Conflict",
    "Connection",
    "Context",
    "ContextClosed",
    "ContextInfo",
    "Custom",
    "Decay",
    "ErasedContent",
    "Erasure",
    "Grown",
    "Hit",
    "InvalidMessage",
    "InvalidName",
    "Item",
    "KnownFact",
    "LastN",
    "LimitExceeded",
    "Link",
    "LinkLost",
    "LinkRefused",
    "LinkStatus",
    "Manual",
    "Message",
    "MissingRecords",
    "NewerFormat",
    "NotAStore",
    "NotFound",
    "OlderFormat",
    "OpenStream",
    "OverBudget",
    "Past",
    "PolicyBroken",
    "PolicyMissing",
    "PresenceChange",
    "Receipt",
    "RegionStatus",
    "RendererMismatch",
    "ReplayMismatch",
    "Said",
    "Selection",
    "Shown",
    "SkipParts",
    "Store",
    "StoreClosed",
    "StoreError",
    "StoreLocked",
    "StoreStatus",
    "Stream",
    "Summarize",
    "SummaryInfo",
    "ToSummarize",
    "TokenizerMissing",
    "Unsynced",
    "View",
    "WeftError",
    "__version__",
    "open",
    "register_merge_rule",
    "register_policy",
    "verify",
]

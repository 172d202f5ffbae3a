"""The one error tree: what went wrong, whose doing it was, and what to do next.

Every error has a stable ``code`` for programs and a ``hint`` for people. Three branches tell
whose fault it is: the caller's (`CallerError`), a peer's (`PeerError`), the machine's
(`MachineError`). Must never know: how anything else works.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class WeftError(Exception):
    """Base of everything Weft raises on purpose. Read ``hint`` for the next step."""

    code: ClassVar[str] = "error"
    default_hint: ClassVar[str] = ""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.default_hint if hint is None else hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class CallerError(WeftError):
    """The application asked for something that can't be done. Change the call."""

    code = "caller"


class PeerError(WeftError):
    """Another party sent something that is refused. Nothing of it was stored."""

    code = "peer"
    culprit: tuple[bytes, bytes] | None = None
    """Envelope and payload of the record that it is about, where there is one."""


class MachineError(WeftError):
    """The disk, the file system or the network failed. The store holds what was acknowledged."""

    code = "machine"


# ---- the caller's ---------------------------------------------------------------------------


class InvalidName(CallerError):
    """A context or note name breaks the rules of names. Use 1-256 bytes, no control characters."""

    code = "invalid_name"


class InvalidMessage(CallerError):
    """A message or event is not well formed. ``path`` points at the part that is wrong."""

    code = "invalid_message"

    def __init__(self, message: str, *, path: str = "$", hint: str | None = None) -> None:
        super().__init__(f"{path}: {message}", hint=hint)
        self.path = path


class LimitExceeded(CallerError):
    """Something is larger than the format allows. Split it; the message names the limit."""

    code = "limit_exceeded"


class BudgetTooSmall(CallerError):
    """The view can't fit: ``culprit`` alone needs ``needed`` tokens. Raise the budget."""

    code = "budget_too_small"
    default_hint = "raise the budget or lower what is reserved"

    def __init__(self, *, needed: int, budget: int, culprit: str) -> None:
        super().__init__(f"{culprit} needs {needed} tokens, the budget has room for {budget}")
        self.needed = needed
        self.budget = budget
        self.culprit = culprit


class OverBudget(CallerError):
    """The view fits in the format it was made for, but not in the one asked for now."""

    code = "over_budget"


class TokenizerMissing(CallerError):
    """This replica has no such tokenizer. It never substitutes another one."""

    code = "tokenizer_missing"


class PolicyMissing(CallerError):
    """This replica has no such view policy or version. Register it before asking for the view."""

    code = "policy_missing"


class PolicyBroken(CallerError):
    """A registered policy or merge rule failed, or was not pure. The message names it."""

    code = "policy_broken"
    default_hint = "it must be a pure function that answers what its registration promises"


class MissingRecords(CallerError):
    """The cut or receipt names records that this replica does not hold. Sync, then try again."""

    code = "missing_records"
    default_hint = "sync with a replica that has them, then try again"

    def __init__(self, message: str, *, missing: Sequence[bytes] = ()) -> None:
        super().__init__(message)
        self.missing = tuple(missing)


class RendererMismatch(CallerError):
    """The receipt was made by another renderer, so other bytes would come out. None are given."""

    code = "renderer_mismatch"


class ReplayMismatch(CallerError):
    """The replayed view differs from its receipt: an altered receipt, or a bug. Run verify."""

    code = "replay_mismatch"


class ErasedContent(CallerError):
    """The view of the receipt held what has been erased since, so it can't be shown again."""

    code = "erased_content"
    default_hint = "what was erased does not come back; make a new view"

    def __init__(
        self, message: str, *, erasers: Sequence[bytes] = (), events: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.erasers = tuple(erasers)
        """Hashes of the erasing records."""
        self.events = tuple(events)
        """The event ids that they name."""


class ContextClosed(CallerError):
    """The context was closed by a ``close`` event: it can be read, not written."""

    code = "context_closed"


class StoreClosed(CallerError):
    """The store is closed or was opened for reading only. Open it with ``weft.open(path)``."""

    code = "store_closed"


class Conflict(CallerError):
    """A condition of the call no longer holds. Read again, then decide."""

    code = "conflict"


class NotFound(CallerError):
    """The store holds no such thing. Check the name."""

    code = "not_found"


class MissingExtra(CallerError):
    """An optional dependency is not installed. The hint has the command."""

    code = "missing_extra"


# ---- a peer's -------------------------------------------------------------------------------


class MalformedUpdate(PeerError):
    """Bytes that are no well-formed Yjs v1 update within the limits. They were not applied."""

    code = "malformed_update"


class MalformedRecord(PeerError):
    """An envelope, payload or signature that is not sound. The record was refused."""

    code = "malformed_record"


class MalformedFrame(PeerError):
    """Bytes that are no frame of the protocol. The link was closed."""

    code = "malformed_frame"


class LinkRefused(PeerError):
    """The other side does not accept this link: token, rights, format. It will not be retried."""

    code = "link_refused"


# ---- the machine's --------------------------------------------------------------------------


class StoreError(MachineError):
    """The store file could not be read or written. What was acknowledged is still in it."""

    code = "store"


class StoreLocked(MachineError):
    """Another process writes in this store. One file has one writer; ``pid`` names it."""

    code = "store_locked"
    default_hint = "close the other writer, or open with readonly=True"

    def __init__(self, message: str, *, pid: int | None) -> None:
        super().__init__(message)
        self.pid = pid


class NotAStore(StoreError):
    """The file is no Weft store, or a damaged one. It was not changed."""

    code = "not_a_store"


class NewerFormat(StoreError):
    """The store was written by a newer Weft. Upgrade; the file was not changed."""

    code = "newer_format"
    default_hint = "upgrade weft; the file was not changed"


class OlderFormat(StoreError):
    """The store was written by an earlier Weft. It is brought up when it is opened for writing."""

    code = "older_format"
    default_hint = "open it once for writing; every record in it stays as it is"


class PortInUse(MachineError):
    """Another program listens on this address. Choose another port."""

    code = "port_in_use"

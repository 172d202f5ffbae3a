"""The view policy `summarize`: everything is wanted, and more room is kept for a summary.

Must never know: how a summary comes about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from weft_engine.canonical import canonical_json
from weft_engine.errors import InvalidMessage
from weft_engine.events.event import PolicyChoice
from weft_engine.limits import INTEGER_MAX
from weft_engine.views.entry import Entry
from weft_engine.views.policy import UNEDITED, Edit


@dataclass(frozen=True, slots=True)
class Summarize:
    """A quarter of the room, not an eighth, is for pins, facts and the summary. `keep`: tokens of
    the newest messages that a compaction leaves as they are (default: about half of the window).
    """

    keep: int | None = None

    name: ClassVar[str] = "summarize"
    version: ClassVar[int] = 1
    limit: ClassVar[int | None] = None
    allowance_divisor: ClassVar[int] = 4
    look_back: ClassVar[int] = 0
    keeps_all: ClassVar[bool] = False
    edits: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.keep is not None and (
            type(self.keep) is not int or not 0 <= self.keep <= INTEGER_MAX
        ):
            raise InvalidMessage(
                f"summarize keeps a whole number of tokens, 0 or more, not {self.keep!r}",
                path="$.keep",
            )

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> Summarize:
        if config.keys() - {"keep"}:
            raise InvalidMessage("summarize takes nothing but keep", path="$")
        if "keep" not in config:
            return cls()
        keep = config["keep"]
        if not isinstance(keep, int):
            raise InvalidMessage("summarize takes one whole number, keep", path="$.keep")
        return cls(keep)

    def choice(self) -> PolicyChoice:
        said = {} if self.keep is None else {"keep": self.keep}
        config = canonical_json(said).decode()
        return PolicyChoice(name=self.name, version=self.version, config=config)

    def edit(self, unit: Sequence[Entry], live: bool) -> Edit:
        return UNEDITED

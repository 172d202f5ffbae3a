"""A receipt: what a view can be rebuilt from, and proved to be the same by.

Portable: any replica that holds the records of `cut` can replay it. Must never know: stores,
where a cut's records are, how a view is built.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from weft_engine.canonical import json_path
from weft_engine.errors import InvalidMessage, InvalidName
from weft_engine.names import ContextName, RecordHash, context_name
from weft_engine.views.spec import ViewSpec, check_digest, check_fields, check_text

_FIELDS: Final = frozenset({"context", "cut", "fingerprint", "spec", "trace_id"})


@dataclass(frozen=True, slots=True)
class Receipt:
    """`trace_id` is the application's own name for the call; `fingerprint` is the view's, in hex;
    `cut` is ascending."""

    trace_id: str
    context: ContextName
    cut: tuple[RecordHash, ...]
    spec: ViewSpec
    fingerprint: str

    def to_json(self) -> dict[str, object]:
        return {
            "context": self.context,
            "cut": [record.hex() for record in self.cut],
            "fingerprint": self.fingerprint,
            "spec": self.spec.to_json(),
            "trace_id": self.trace_id,
        }

    @classmethod
    def from_json(cls, value: object) -> Receipt:
        """The receipt that `to_json` gave. RendererMismatch if another renderer made its view, else
        InvalidMessage with the path of what is wrong."""
        fields = check_fields(value, _FIELDS, "$")
        try:
            context = context_name(check_text(fields, "context", "$"))
        except InvalidName as error:
            raise InvalidMessage(error.message, path="$.context") from error
        return cls(
            trace_id=check_text(fields, "trace_id", "$"),
            context=context,
            cut=_cut(fields["cut"], "$.cut"),
            spec=ViewSpec.from_json(fields["spec"], "$.spec"),
            fingerprint=check_digest(fields["fingerprint"], "$.fingerprint"),
        )


def _cut(value: object, path: str) -> tuple[RecordHash, ...]:
    if not isinstance(value, list):
        raise InvalidMessage("an array was expected", path=path)
    records = [check_digest(record, json_path(path, i)) for i, record in enumerate(value)]
    if any(former >= latter for former, latter in pairwise(records)):
        raise InvalidMessage("the hashes are not ascending", path=path)
    return tuple(RecordHash(bytes.fromhex(record)) for record in records)

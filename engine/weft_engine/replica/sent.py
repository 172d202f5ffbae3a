"""The last views of a context that were given out here, so that the next can say why it changed.

Must never know: how views are made.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from functools import lru_cache
from typing import Final

from weft_engine.views.spec import ViewSpec
from weft_engine.views.view import View

_KEPT_MAX: Final = 4


class SentViews:
    """One by spec, for whatever tools; of a spec that is new, the last of all stands before."""

    def __init__(self) -> None:
        self._kept: OrderedDict[ViewSpec, View] = OrderedDict()
        self._last: View | None = None

    def before(self, spec: ViewSpec) -> View | None:
        return self._kept.get(_lasting(spec), self._last)

    def keep(self, view: View) -> None:
        key = _lasting(view.spec)
        self._last = view
        self._kept[key] = view
        self._kept.move_to_end(key)
        if len(self._kept) > _KEPT_MAX:
            self._kept.popitem(last=False)


@lru_cache(maxsize=64)
def _lasting(spec: ViewSpec) -> ViewSpec:
    """The spec without what a call asks for beside it."""
    return replace(spec, reserved=0, surplus=0, tools=None)

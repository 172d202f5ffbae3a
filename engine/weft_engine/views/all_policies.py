"""The policies that every replica has, by name and version.

Must never know: what they do.
"""

from __future__ import annotations

from typing import Final

from weft_engine.views.decay import Decay
from weft_engine.views.policies import LastN, Manual, SkipParts
from weft_engine.views.policy import POLICIES
from weft_engine.views.summarize import Summarize

for _policy in (LastN, SkipParts, Manual, Summarize, Decay):
    POLICIES.register(_policy.name, _policy.version, _policy.from_config)

find_policy: Final = POLICIES.find
"""The policy that a choice names, also one that the application has registered."""

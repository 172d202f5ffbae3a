"""``--policy``: a view policy by its name, with its settings as JSON if there are any.

Must never know: what any policy does.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Final

from weft_engine.canonical import parse_json
from weft_engine.errors import CallerError, InvalidMessage

if TYPE_CHECKING:
    from weft_engine.views.policy import Policy

_HELP: Final = (
    "what chooses what goes when not all fits: last_n, skip_parts, manual, summarize or decay, with"
    ' settings that differ as JSON, such as last_n:{"limit":40} or decay:{"half_life_ms":3600000}'
)


def add_policy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--policy", metavar="NAME[:JSON]", help=f"{_HELP} (default: as configured)")


def policy_of(text: str | None) -> Policy | None:
    """The policy that an option names. CallerError for what is none, PolicyMissing for one that
    this version has not, InvalidMessage for settings that it does not take."""
    if text is None:
        return None
    from weft_engine.events.event import PolicyChoice
    from weft_engine.views.all_policies import find_policy
    from weft_engine.views.policies import LastN, SkipParts

    name, _, given = text.partition(":")
    try:
        settings = parse_json(given) if given else {}
    except InvalidMessage as error:
        raise _no_settings(given) from error
    if not isinstance(settings, dict):
        raise _no_settings(given)
    for usual in (LastN(), SkipParts()):
        if usual.name == name:
            settings = {**json.loads(usual.choice().config), **settings}
    return find_policy(PolicyChoice(name, 1, json.dumps(settings)))


def _no_settings(given: str) -> CallerError:
    return CallerError(
        f"the settings of a policy are a JSON object, not {given!r}",
        hint="""such as --policy 'last_n:{"limit":40}'""",
    )

"""What a context's views use unless a call says otherwise: its config events, resolved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from weft_engine.events.event import Config, PolicyChoice
from weft_engine.names import EventId
from weft_engine.views.policies import LastN
from weft_engine.views.tokenizer import DEFAULT_TOKENIZER

BUDGET_DEFAULT: Final = 8_000
TRIGGER_DEFAULT: Final = 700
POLICY_DEFAULT: Final = LastN().choice()

_NAMES: Final = tuple(field.name for field in fields(Config) if field.name != "replaces")


@dataclass(frozen=True, slots=True)
class Settings:
    """Resolved settings; tokens, and thousandths of the budget for `trigger`. `reserved` None is
    an eighth of the budget. `standing` are the config events that hold, and what each one says."""

    budget: int = BUDGET_DEFAULT
    reserved: int | None = None
    trigger: int = TRIGGER_DEFAULT
    clear_at_least: int = 0
    policy: PolicyChoice = POLICY_DEFAULT
    tokenizer: str = DEFAULT_TOKENIZER.name
    format: str = "openai"
    metadata: str | None = None
    standing: tuple[tuple[EventId, frozenset[str]], ...] = ()


def resolve(configs: Sequence[tuple[EventId, Config]]) -> Settings:
    """The settings that `configs`, ordered by (time, id), amount to. One that replaces another
    beats it; among the rest, the last that names a field decides it."""
    beaten = {target for _, config in configs for target in config.replaces}
    settings = Settings()
    standing: list[tuple[EventId, frozenset[str]]] = []
    for event, config in configs:
        if event not in beaten:
            named = _named(config)
            standing.append((event, frozenset(named)))
            settings = replace(settings, **named)
    return replace(settings, standing=tuple(standing))


def difference(settings: Settings, wanted: Config) -> Config | None:
    """The config event that makes `settings` what is `wanted`; None if they are so already.

    It says only what differs, and replaces only what it restates in full: so two replicas that
    change different things at the same time both get their way.
    """
    asked = {
        name: value for name, value in _named(wanted).items() if getattr(settings, name) != value
    }
    if not asked:
        return None
    restated = tuple(event for event, names in settings.standing if names.issubset(asked))
    return Config(replaces=tuple(sorted(restated)), **asked)


def _named(config: Config) -> dict[str, Any]:
    return {name: value for name in _NAMES if (value := getattr(config, name)) is not None}

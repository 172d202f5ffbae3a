"""What a context's views use unless a call says otherwise: its config events, resolved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from weft_engine.canonical import parse_json
from weft_engine.errors import InvalidMessage
from weft_engine.events.event import Config, PolicyChoice
from weft_engine.formats.registry import outgoing
from weft_engine.limits import INTEGER_MAX
from weft_engine.names import EventId
from weft_engine.views.policies import LastN
from weft_engine.views.policy import Policy, choice_of
from weft_engine.views.tokenizer import DEFAULT_TOKENIZER, tokenizer_id

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


def wanted(
    settings: Settings,
    *,
    budget: int | None,
    reserved: int | None,
    trigger: float | None,
    clear_at_least: int | None,
    policy: Policy | None,
    tokenizer: str | None,
    form: str | None,
    metadata: str | None,
) -> Config:
    """What an application wants the settings to be, checked: once it is written, every view on
    every replica needs it. InvalidMessage, TokenizerMissing, CallerError for what is no policy."""
    for name, value in (
        ("budget", budget),
        ("reserved", reserved),
        ("clear_at_least", clear_at_least),
    ):
        if value is not None and (type(value) is not int or not 0 <= value <= INTEGER_MAX):
            raise InvalidMessage(f"is a whole number of tokens, not {value!r}", path=f"$.{name}")
    if trigger is not None and (not isinstance(trigger, (int, float)) or not 0 < trigger <= 1):
        raise InvalidMessage(
            f"is a share of the budget above 0, at most 1, not {trigger!r}", path="$.trigger"
        )
    most = settings.budget if budget is None else budget
    least = settings.reserved if reserved is None else reserved
    if budget == 0:
        raise InvalidMessage("is a number of tokens above 0", path="$.budget")
    if (budget is not None or reserved is not None) and least is not None and least >= most:
        raise InvalidMessage(
            f"of a budget of {most} tokens {least} can't be reserved", path="$.reserved"
        )
    if metadata is not None:
        _check_json(metadata)
    return Config(
        budget=budget,
        reserved=reserved,
        trigger=None if trigger is None else max(1, round(trigger * 1000)),
        clear_at_least=clear_at_least,
        policy=None if policy is None else choice_of(policy),
        tokenizer=None if tokenizer is None else tokenizer_id(tokenizer).name,
        format=None if form is None else outgoing(form).name,
        metadata=metadata,
    )


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


def _check_json(text: str) -> None:
    try:
        parse_json(text)
    except (InvalidMessage, AttributeError) as error:
        raise InvalidMessage(f"is JSON text: {error}", path="$.metadata") from error


def _named(config: Config) -> dict[str, Any]:
    return {name: value for name in _NAMES if (value := getattr(config, name)) is not None}

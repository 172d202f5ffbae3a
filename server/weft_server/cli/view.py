"""``weft view``: what a model would be sent now, or would have been sent then."""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import TYPE_CHECKING, Final

from weft_server.cli.at import add_at, look_back
from weft_server.cli.branch_option import add_branch, on_branch
from weft_server.cli.output import Output, one_line
from weft_server.cli.policy_option import add_policy, policy_of
from weft_server.cli.store_file import add_context, add_store, held_context, open_to_read, positive
from weft_server.cli.wording import body, chat_text, counted

if TYPE_CHECKING:
    from weft_engine.views.view import View

NAME: Final = "view"
HELP: Final = "show what a model would be sent now"
FORMATS: Final = ("openai", "responses", "anthropic", "ui", "text")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_context(parser)
    add_store(parser)
    parser.add_argument(
        "--budget",
        type=positive,
        metavar="N",
        help="tokens (default: as the context is configured)",
    )
    parser.add_argument(
        "--reserve",
        type=tokens,
        metavar="N",
        help="tokens of the budget to keep free for tools and the reply (default: as configured)",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="count it and print what is sent in this format: JSON, or a plain transcript (default:"
        " as configured, the messages for people to read)",
    )
    add_policy(parser)
    add_at(parser)
    add_branch(parser)
    parser.add_argument("--full", action="store_true", help="do not cut long messages")
    parser.epilog = (
        "With --json: messages (in the format), used_tokens, needs_compaction, fingerprint and"
        " a receipt, from which any replica that holds the same records gets the same bytes"
        " (weft replay)."
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    return asyncio.run(_run(arguments, output))


async def _run(arguments: argparse.Namespace, output: Output) -> int:
    policy = policy_of(arguments.policy)
    async with await open_to_read(arguments.store) as replica:
        context = await held_context(replica, arguments)
        context = await on_branch(context, arguments.branch)
        then = await look_back(replica, context, arguments.at)
        format_: str | None = arguments.format
        view = await then.view(
            budget=arguments.budget,
            reserved=arguments.reserve,
            policy=policy,
            format=format_,
        )
    output.data(view_data(view))
    if output.as_json:
        return 0
    if format_ is None:
        show_messages(view, output, full=arguments.full)
    elif format_ == "text":
        output.say(view.text())
    else:
        output.json_line(json.dumps(view.rendered(format_), ensure_ascii=False))
    return 0


def view_data(view: View) -> dict[str, object]:
    """A view for programs: the messages in its own format."""
    return {
        "messages": view.rendered(view.spec.format),
        "used_tokens": view.used_tokens,
        "needs_compaction": view.needs_compaction,
        "fingerprint": view.fingerprint,
        "receipt": view.receipt.to_json(),
    }


def show_messages(view: View, output: Output, *, full: bool) -> None:
    """A view for people."""
    from weft_engine.formats.openai_outgoing import FORMAT_OPENAI

    sent = FORMAT_OPENAI.render(view.said)
    assert isinstance(sent, list)
    for message in sent:
        output.say(f"{message['role']}")
        output.say(body(chat_text(message), full=full))
        output.say()
    spec = view.spec
    left_out = "" if not view.left_out else f", {view.left_out:,} older ones left out"
    output.say(f"{one_line(view.context)}: {counted(len(view.ids), 'message')}{left_out}")
    output.say(
        f"{view.used_tokens:,} tokens used and {spec.reserved:,} reserved of {spec.budget:,};"
        f" {'needs' if view.needs_compaction else 'needs no'} compaction"
    )
    output.say(f"fingerprint {view.fingerprint}")


def tokens(text: str) -> int:
    return 0 if text == "0" else positive(text)

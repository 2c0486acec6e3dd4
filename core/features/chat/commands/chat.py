"""`finetop chat RUN`: talk to a run's model beside its base, in the app, or line by line without a terminal."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator

from msgspec.structs import replace

from finetop.core.commands import Command
from finetop.core.commands.shared import options
from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.features.chat import command_line as shared
from finetop.core.features.chat.chat_commands import HELP, NEW, QUIT, command_in, unknown
from finetop.core.features.chat.client import Chat
from finetop.core.features.chat.commands.ask import Answer, Writer, print_errors, take
from finetop.core.features.chat.messages import ChatSettings, ChatSide
from finetop.core.runtime.home import Home

ABOUT = "talk to a run's model beside its base, or beside another model"
BASE = "base"


def arguments(parser: argparse.ArgumentParser) -> None:
    options.value(parser, "run", "RUN[@STEP]", "a run: its best or newest checkpoint, or STEP's")
    options.optional(parser, "other", "RUN2[@STEP]", "another run, in place of the base")
    options.optional(parser, "--with", "RUN2[@STEP]", "the same; `base` for the base")
    options.flag(parser, "--plain", "line by line, without the app")
    shared.arguments(parser)


def run(args: argparse.Namespace, home: Home) -> int:
    if args.json:
        raise BadInput("finetop chat has no --json.", hint=f'See `finetop ask {args.run} "…" --json`.')
    settings, sides = shared.settings_of(args), sides_of(args, home)
    in_app = sys.stdin.isatty() and sys.stdout.isatty() and not args.plain and args.open_app is not None
    # line by line it is its own: it is closed at its end, and another's must go on
    chat = shared.opened(args, home, sides, is_own=not in_app)
    if in_app:
        try:
            return int(args.open_app([home], chat.opened.run, settings))
        except EnvironmentTrouble as error:  # a terminal that the app can't draw on
            print(f"finetop: {error}", file=sys.stderr, flush=True)
    try:
        return converse(chat, settings)
    finally:
        chat.close()


def sides_of(args: argparse.Namespace, home: Home) -> list[ChatSide]:
    """Return the two sides: the run's model, and what options name beside it, else its base. Raises BadInput."""
    others, tuned = shared.other_sides(args, home), shared.tuned_side(args)
    named = getattr(args, "with") or args.other
    if getattr(args, "with") and args.other:
        raise BadInput(f"--with {named} and {args.other} are both given.", hint="Leave one of them out.")
    if named and named != BASE:
        name, step = options.run_and_step(named)
        others.insert(0, ChatSide(named, "checkpoint", name, step))
        tuned = replace(tuned, label=args.run)
    elif named:
        others.insert(0, ChatSide(BASE, "base", tuned.run))
    if not others:
        return [] if tuned.step is None else [ChatSide(BASE, "base", tuned.run), tuned]
    return others if len(others) > 1 else [tuned, *others]


def converse(chat: Chat, settings: ChatSettings) -> int:
    """Answer line by line until the input ends. Raises ChatEnded."""
    labels = " and ".join(side.label for side in chat.opened.sides)
    print(f"{labels} of {chat.opened.run}. {HELP}, ctrl+c stops an answer.", file=sys.stderr, flush=True)
    shared.print_sent(chat, settings)
    waiting, fresh = shared.Waiting(), False
    for text in prompts():
        if not text.strip():
            continue
        command = command_in(text)
        if command == QUIT:
            break
        if command:
            fresh = fresh or command == NEW
            said = "a new conversation." if command == NEW else unknown(command)
            print(said, file=sys.stderr, flush=True)
            continue
        number = chat.ask(text, settings, fresh=fresh)
        fresh = False
        if not show_answers(chat, number, waiting):
            return 130
    return 0


def prompts() -> Iterator[str]:
    """Yield the lines of stdin, with a sign before each in a terminal."""
    while True:
        if sys.stdin.isatty():
            print("> ", end="", file=sys.stderr, flush=True)
        try:
            line = sys.stdin.readline()
        except KeyboardInterrupt:
            return
        if not line:
            return
        yield line.rstrip("\n")


def show_answers(chat: Chat, number: int, waiting: shared.Waiting) -> bool:
    """Print the answers to a prompt as they come; ctrl+c stops them. Return False if it was pressed twice."""
    answers = [Answer(side.label) for side in chat.opened.sides]
    writer, following, stopped_at = Writer(answers), chat.answers(number), 0.0
    while True:
        try:
            lines = next(following, None)
            if lines is None:
                break
            if not lines:
                waiting.show(chat.state)
            take(lines, number, answers)
            writer.show()
        except KeyboardInterrupt:
            if stopped_at:
                return False
            stopped_at = time.monotonic()
            chat.stop()
            unended = [at for at, answer in enumerate(answers) if answer.end is None and not answer.error]
            following = chat.answers(number, unended)
    print_errors(answers)
    return True


PLUGIN = Command(ABOUT, "watch", run, arguments)

"""`finetop ask RUN "…"`: one answer on stdout, or one a line for a file of prompts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from finetop.core.commands import Command
from finetop.core.commands.shared import options
from finetop.core.commands.shared.output import print_json
from finetop.core.errors import BadInput
from finetop.core.features.chat import command_line as shared
from finetop.core.features.chat.client import Chat
from finetop.core.features.chat.messages import ChatLine, ChatSide
from finetop.core.runtime.files import given_path, os_error_words, read_given
from finetop.core.runtime.home import Home
from finetop.core.text import clean_line, json_safe, quoted

ABOUT = "ask a run's model, its base or both, and print the answer"
SHAPE = 'Write one a line: {"prompt": "…"}, with "system" if there is one, or {"messages": […]}.'


@dataclass(frozen=True)
class Asked:
    """One prompt."""

    text: str
    system: str | None = None  # None: as the options say


def arguments(parser: argparse.ArgumentParser) -> None:
    options.value(parser, "run", "RUN[@STEP]", "a run: its best or newest checkpoint, or STEP's")
    options.optional(parser, "prompt", "TEXT", "the prompt; - reads it from stdin")
    options.path(parser, "--file", "PROMPTS", "JSON lines with a prompt each: answers are JSON lines")
    which = parser.add_mutually_exclusive_group()
    options.flag(which, "--both", "the base's answer too")
    options.flag(which, "--base", "only the base's answer")
    shared.arguments(parser)


def run(args: argparse.Namespace, home: Home) -> int:
    settings, prompts = shared.settings_of(args), prompts_of(args)
    chat = shared.opened(args, home, sides_of(args, home), is_own=True)
    failed = False
    try:
        waiting = shared.Waiting()
        shared.print_sent(chat, settings)
        for prompt in prompts:
            own = (
                settings if prompt.system is None else msgspec.structs.replace(settings, system=prompt.system)
            )
            number = chat.ask(prompt.text, own, fresh=True)
            answers = [Answer(side.label) for side in chat.opened.sides]
            writer = None if args.json or args.file is not None else Writer(answers)
            for lines in chat.answers(number):
                if not lines:
                    waiting.show(chat.state)
                take(lines, number, answers)
                if writer is not None:
                    writer.show()
            report(args, chat, prompt, answers)
            failed = failed or any(answer.error for answer in answers)
    finally:
        chat.close()
    return 1 if failed else 0


def sides_of(args: argparse.Namespace, home: Home) -> list[ChatSide]:
    """Return the sides that are asked. Raises BadInput."""
    others, tuned = shared.other_sides(args, home), shared.tuned_side(args)
    base = ChatSide("base", "base", tuned.run)
    if args.base:
        return [base, *others]
    if args.both:
        return [base, *(others or [tuned])]
    return others or [tuned]


def prompts_of(args: argparse.Namespace) -> list[Asked]:
    """Return the prompts: the argument, stdin's text, or the rows of a file. Raises BadInput."""
    if args.file is not None:
        if args.prompt:
            raise BadInput("a prompt and --file are both given.", hint="Leave one of them out.")
        return list(read_prompts(given_path(args.file)))
    text = sys.stdin.read() if args.prompt == "-" else args.prompt
    if not text.strip():
        hint = f'finetop ask {args.run} "…", or --file prompts.jsonl.'
        raise BadInput("the prompt is empty." if args.prompt else "no prompt is given.", hint=hint)
    return [Asked(text)]


def read_prompts(file: Path) -> Iterator[Asked]:
    """Read a prompt from each line of a file. Raises BadInput that names the line."""
    try:
        lines = read_given(file).split(b"\n")
    except (OSError, ValueError) as error:
        words = os_error_words(error) if isinstance(error, OSError) else str(error)
        raise BadInput(f"--file: {words}.") from error
    if not any(line.strip() for line in lines):
        raise BadInput(f"--file: {file} is empty.", hint=SHAPE)
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield prompt_of(line, f"{file}:{number}")


def prompt_of(line: bytes, place: str) -> Asked:
    """Read one row. Raises BadInput at `place`."""
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{place}: is not JSON ({error}).", hint=SHAPE) from error
    facts = {"prompt": row} if isinstance(row, str) else row if isinstance(row, dict) else {}
    prompt, system = facts.get("prompt"), facts.get("system")
    for turns in (facts.get("messages"), prompt):
        if isinstance(turns, list):
            return of_messages(turns, place)
    if not isinstance(prompt, str) or not prompt.strip() or not isinstance(system, str | None):
        keys = clean_line(", ".join(map(str, facts)), limit=80)
        raise BadInput(f"{place}: a row of {keys or quoted(row)} has no prompt.", hint=SHAPE)
    return Asked(prompt, system)


def of_messages(messages: Sequence[Any], place: str) -> Asked:
    """Return the prompt of a conversation: its system turn and its one question. Raises BadInput at `place`."""
    turns = [
        (turn.get("role"), turn["content"])
        for turn in messages
        if isinstance(turn, dict) and isinstance(turn.get("content"), str)
    ]
    if len(turns) < len(messages):
        raise BadInput(f"{place}: a turn has no text.", hint=SHAPE)
    if turns and turns[-1][0] == "assistant":
        turns.pop()  # the reference answer
    systems = [content for role, content in turns if role == "system"]
    questions = [content for role, content in turns if role != "system"]
    if len(questions) != 1 or not questions[0].strip():
        hint = "Each prompt begins a conversation: give rows with one question."
        raise BadInput(f"{place}: it has {len(questions)} turns before the answer.", hint=hint)
    return Asked(questions[0], "\n\n".join(systems) if systems else None)


# --- answers --------------------------------------------------------------------------------------------------


@dataclass
class Answer:
    """What one side answers."""

    label: str
    text: str = ""
    error: str = ""
    end: ChatLine | None = None

    @property
    def plain(self) -> dict[str, Any]:
        """Return it for --json."""
        facts: dict[str, Any] = {"label": self.label, "text": self.text}
        if self.error:
            return {**facts, "error": self.error}
        if self.end is not None:
            names = ("why", "tokens", "prompt_tokens", "first_s", "took_s")
            facts |= {name: getattr(self.end, name) for name in names}
        return facts


def take(lines: Sequence[ChatLine], number: int, answers: Sequence[Answer]) -> None:
    """Add lines of the transcript to the answers of a prompt; report what belongs to none."""
    for line in lines:
        if words := shared.notice_words(line):
            print(words, file=sys.stderr, flush=True)
        elif line.number == number and line.side >= 0:
            answer = answers[line.side]
            if line.kind == "text":
                answer.text += line.text
            elif line.kind == "error":
                answer.error = line.text
            elif line.kind == "end":
                answer.end = line


@dataclass
class Writer:
    """Prints answers as they come, one after the other, each under its label if there are several."""

    answers: Sequence[Answer]
    place: int = 0
    shown: int = 0  # characters of the present one; its label counts as the first
    is_labelled: bool = False

    def show(self) -> None:
        """Print what is new of the present answer, and of those behind it once it has ended."""
        while self.place < len(self.answers):
            answer = self.answers[self.place]
            has_ended = answer.end is not None or bool(answer.error)
            if not self.is_labelled and (answer.text or has_ended):
                if len(self.answers) > 1:
                    print(f"{'' if not self.place else chr(10)}{answer.label}:")
                self.is_labelled = True
            print(answer.text[self.shown :], end="", flush=True)
            self.shown = len(answer.text)
            if not has_ended:
                return
            print("" if answer.text.endswith("\n") or not answer.text else "\n", end="", flush=True)
            self.place, self.shown, self.is_labelled = self.place + 1, 0, False


def print_errors(answers: Sequence[Answer]) -> None:
    for answer in answers:
        if answer.error:
            print(f"finetop: {answer.label}: {answer.error}", file=sys.stderr, flush=True)


def report(args: argparse.Namespace, chat: Chat, prompt: Asked, answers: Sequence[Answer]) -> None:
    """Print the answers as JSON, if that is asked for, and their errors."""
    print_errors(answers)
    facts: dict[str, Any] = {"prompt": prompt.text, "answers": [answer.plain for answer in answers]}
    notices = [notice for notice in chat.opened.notices if notice]
    if args.file is not None:
        facts |= {"notices": notices} if notices else {}
        print(json_safe(msgspec.json.encode(facts).decode()), flush=True)
    elif args.json:
        print_json({"run": chat.opened.run, "notices": notices, **facts})


PLUGIN = Command(ABOUT, "watch", run, arguments)

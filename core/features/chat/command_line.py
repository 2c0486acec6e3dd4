"""What `finetop chat` and `finetop ask` share: the options of sides and settings, and waiting for the models."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

import msgspec

from finetop.core.commands.shared import options
from finetop.core.commands.shared.output import queued_words
from finetop.core.errors import BadInput
from finetop.core.features.chat import wording
from finetop.core.features.chat.client import Chat, open_chat
from finetop.core.features.chat.messages import MOST_SIDES, ChatLine, ChatSettings, ChatSide, OpenChat
from finetop.core.protocol import runs as data
from finetop.core.runtime.files import given_path
from finetop.core.runtime.home import Home
from finetop.core.runtime.secrets import require_sendable
from finetop.core.text import clean_line

SETTINGS = ("system", "temperature", "top_p", "seed", "max_new_tokens")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of sides and settings."""
    options.value(parser, "--step", "N", "the checkpoint of this step", type=options.count_or_none)
    options.optional(parser, "--remedy", "NAME", "the model of this remedy: see `finetop remedy`")
    options.path(parser, "--gguf", "FILE", "a GGUF file")
    options.optional(parser, "--endpoint", "URL", "an OpenAI-style server, such as http://localhost:8000/v1")
    options.optional(parser, "--endpoint-model", "NAME", "its model (default: the first that it lists)")
    about = "the environment variable with its key (default: OPENAI_API_KEY, if that is set)"
    options.optional(parser, "--key-env", "NAME", about)
    about = 'the system prompt, "" for none (default: the one that the run was trained with)'
    options.value(parser, "--system", "TEXT", about, default=None)
    options.value(parser, "--temperature", "T", "0 (the default) is greedy", type=float, default=0.0)
    options.value(
        parser, "--top-p", "P", "sample from this share of the probability", type=float, default=1.0
    )
    options.value(parser, "--seed", "N", "seed of sampling", type=int, default=1)
    options.value(parser, "--max-new-tokens", "N", "longest answer", type=options.count, default=512)
    options.flag(
        parser, "--tuned-first", "the second side answers before the first: the model before its base"
    )
    options.flag(parser, "--cpu", "answer on the CPU, without waiting for a GPU")


def settings_of(args: argparse.Namespace) -> ChatSettings:
    """Return the settings. Raises BadInput for a value out of range."""
    given = {name: getattr(args, name) for name in SETTINGS} | {"first": int(args.tuned_first)}
    try:
        return msgspec.convert(given, ChatSettings)
    except msgspec.ValidationError as error:
        name = str(error).rpartition("$.")[2].rstrip("`")
        option = "--" + name.replace("_", "-")
        why = str(error).partition(" - at")[0].replace("Expected ", "is not ")
        raise BadInput(f"{option} {given.get(name)} {why}.", hint="See `finetop chat --help`.") from error


def tuned_side(args: argparse.Namespace) -> ChatSide:
    """Return the run's own checkpoint: RUN@STEP or --step. Raises BadInput."""
    name, step = options.run_and_step(args.run)
    if step is not None and args.step is not None and step != args.step:
        raise BadInput(f"{args.run} and --step {args.step} name two steps.", hint="Leave one of them out.")
    return ChatSide("tuned", "checkpoint", name, args.step if step is None else step)


def other_sides(args: argparse.Namespace, home: Home) -> list[ChatSide]:
    """Return the sides that options name: a remedy's model, a GGUF file, an endpoint. Raises BadInput."""
    sides = []
    if args.remedy:
        sides.append(msgspec.structs.replace(tuned_side(args), label=args.remedy, remedy=args.remedy))
    if args.gguf:
        path = args.gguf
        if home.link is not None and not path.startswith("/"):
            hint = "Give its whole path there."
            raise BadInput(f"--gguf {path}: the file is read on {home.label}.", hint=hint)
        sides.append(ChatSide(Path(path).name, "gguf", path=str(given_path(path).absolute())))
    if args.endpoint:
        key = key_variable(args)
        label = args.endpoint_model or args.endpoint
        sides.append(ChatSide(label, "endpoint", url=args.endpoint, model=args.endpoint_model, key_env=key))
    elif args.endpoint_model or args.key_env:
        option = "--endpoint-model" if args.endpoint_model else "--key-env"
        raise BadInput(f"{option} belongs to an endpoint.", hint="Add --endpoint URL.")
    return sides


def key_variable(args: argparse.Namespace) -> str:
    """Return the name of the variable with the endpoint's key; empty for none. Raises BadInput if it is not set."""
    name: str = args.key_env or ("OPENAI_API_KEY" if os.environ.get("OPENAI_API_KEY") else "")
    if name and not _VARIABLE.fullmatch(name):
        hint = "Give the variable's name, not the key itself."
        raise BadInput("--key-env: that is not the name of a variable.", hint=hint)
    if name and not os.environ.get(name):
        raise BadInput(f"--key-env {name}: this variable is not set.", hint=f"export {name}=…")
    require_sendable(name, os.environ.get(name, ""))
    return name


def opened(args: argparse.Namespace, home: Home, sides: list[ChatSide], *, is_own: bool) -> Chat:
    """Open a chat with these sides. Raises BadInput for too many."""
    if len(sides) > MOST_SIDES:
        names = ", ".join(side.label for side in sides)
        raise BadInput(f"a chat has {MOST_SIDES} sides, not {len(sides)}: {names}.", hint="Leave some out.")
    name, _ = options.run_and_step(args.run)
    keys = {side.key_env: os.environ[side.key_env] for side in sides if side.key_env}
    return open_chat(home, OpenChat(name, sides, on_cpu=args.cpu, is_own=is_own, keys=keys))


def print_sent(chat: Chat, settings: ChatSettings) -> None:
    """Report on stderr what is sent with each prompt, after what the reader must know of the models."""
    for notice in filter(None, chat.opened.notices):
        print(f"warning: {notice}", file=sys.stderr, flush=True)
    said, text = wording.system(settings, chat.opened.system)
    system = f"{said}: {clean_line(text)}" if text else said
    print(f"{wording.generation(settings)}; {system}", file=sys.stderr, flush=True)


class Waiting:
    """Reports on stderr what a chat waits for, each thing once."""

    def __init__(self) -> None:
        self._shown = ""

    def show(self, state: data.State) -> None:
        """Report the state of a chat that has not answered yet."""
        words = ""
        if isinstance(state, data.Queued):
            words = queued_words(state)
        elif isinstance(state, data.Running) and state.phase.startswith("loading"):
            words = state.phase
        if words and words != self._shown:
            print(f"{words} …", file=sys.stderr, flush=True)
        self._shown = words or self._shown


def notice_words(line: ChatLine) -> str:
    """Return a line of the transcript that belongs to no answer; empty for others."""
    is_own = line.kind == "notice" or (line.kind == "error" and line.side < 0)
    return line.text if is_own else ""

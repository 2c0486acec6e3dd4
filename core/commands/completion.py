"""`finetop completion SHELL`: print a completion script, generated from the commands' own parsers."""

from __future__ import annotations

import argparse

from finetop.core.commands import Command
from finetop.core.commands.shared.output import reply
from finetop.core.runtime.home import Home


def arguments(parser: argparse.ArgumentParser) -> None:
    about = 'use: eval "$(finetop completion bash)"'
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"), help=about)


def run(args: argparse.Namespace, home: Home) -> int:
    import shtab

    from finetop.core.commands.main import whole_parser

    script = shtab.complete(whole_parser(), shell=args.shell)
    return reply(args, {"shell": args.shell, "script": script}, script)


ABOUT = "print a completion script for bash, zsh or tcsh"
PLUGIN = Command(ABOUT, "maintenance", run, arguments, is_remote=False)

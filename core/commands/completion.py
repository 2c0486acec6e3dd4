"""`finetop completion SHELL`: print a completion script, generated from the commands' own parsers."""

from __future__ import annotations

import argparse

from finetop.core.commands import Command
from finetop.core.commands.shared.output import print_json
from finetop.core.runtime.home import Home


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "shell", choices=("bash", "zsh", "tcsh"), help='use: eval "$(finetop completion bash)"'
    )


def run(args: argparse.Namespace, home: Home) -> int:
    import shtab

    from finetop.core.commands.main import whole_parser

    script = shtab.complete(whole_parser(), shell=args.shell)
    print_json({"shell": args.shell, "script": script}) if args.json else print(script)
    return 0


PLUGIN = Command(
    "print a completion script for bash, zsh or tcsh", "maintenance", run, arguments, is_remote=False
)

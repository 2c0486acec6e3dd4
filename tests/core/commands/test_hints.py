"""Every command named in a message or a hint can be typed: the verb exists, and accepts those arguments."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from finetop.core.commands.main import parser_of, verbs
from finetop.core.errors import BadInput

CORE = Path(__file__).parents[3] / "core"
NAMED = re.compile(r"`finetop ([^`]+)`|\bfinetop ((?:[a-z]+)(?: [^.;,:()`|]*\S)?)")
VALUES = {"N": "3", "GIB": "8", "KEY=V,V": "train.seed=1,2", "step": "3"}


def texts(path):
    """Yield the texts of a module that people may read, with `x` for filled-in values; without docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            inner.add(id(node.value))
        if isinstance(node, ast.JoinedStr):
            inner |= {id(part) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values]
            yield node.lineno, re.sub(r"(?<=\w)\0", " ", "".join(parts)).replace("\0", "x")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            yield node.lineno, node.value


def commands():
    """Return the commands named after "finetop": the place, and their words."""
    named = []
    for path in sorted(CORE.rglob("*.py")):
        for line, text in texts(path) if "finetop " in path.read_text(encoding="utf-8") else ():
            for quoted, bare in NAMED.findall(text):
                arguments = quoted or bare
                verb = arguments.split()[0]
                if verb in verbs():
                    named.append((f"{path.relative_to(CORE)}:{line}", arguments))
    return named


def ways_to_type(arguments):
    """Yield the possible commands, longest first: outside of backticks the sentence continues after the command."""
    typed = [re.sub(r"^['\"(]|[.,:;)'\"]+$", "", word) for word in arguments.split()]
    typed = [VALUES.get(word, word) for word in typed if word]
    options = [at for at, word in enumerate(typed) if word.startswith("--")]
    for end in range(len(typed), max([1, *(at + 1 for at in options)]) - 1, -1):
        yield typed[:end]


def test_each_command_that_is_named_can_be_typed(capsys):
    named = commands()
    assert len(named) > 150
    wrong, parser = [], cache(parser_of)
    for where, arguments in named:
        errors = []
        for verb, *rest in ways_to_type(arguments):
            try:
                parser(verb).parse_args(rest)
            except SystemExit:
                break  # --help
            except BadInput as error:
                errors.append(error.message)
            else:
                break
        else:
            is_name = rest in ([], ["--fix"])  # names a command, or one way to use it
            if not (is_name and re.search("arguments are required|expected one argument", errors[-1])):
                wrong.append((where, arguments, errors))
    assert not wrong


@pytest.mark.parametrize("command_line", ["export x --adaptr", "sql --nothing here", "queue x --up --n 3"])
def test_a_command_that_can_not_be_typed_would_be_found(command_line):
    for verb, *rest in ways_to_type(command_line):
        with pytest.raises(BadInput):
            parser_of(verb).parse_args(rest)

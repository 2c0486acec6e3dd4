"""Gives malicious YAML to everything that reads some, and prints the outcome, one JSON per line.

python malicious.py FOLDER HOME CANARY

FOLDER is where the files are made. CANARY is a file that code in a payload would create.
"""

import contextlib
import io
import json
import os
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from finetop.core.commands.main import main

GOOD = "recipe: 1\nextends: lora\nname: good\ndata: {train: [{path: rows.jsonl}]}\n"


def values(canary: str) -> dict[str, str]:
    """The text for a place that needs a value, in flow style."""
    touch = json.dumps(f"touch {canary}")
    return {
        "os.system": f"!!python/object/apply:os.system [{touch}]",
        "subprocess": f"!!python/object/apply:subprocess.check_output [[touch, {json.dumps(canary)}]]",
        "eval": f"!!python/object/apply:eval [{json.dumps(f'open({canary!r}, chr(119))')}]",
        "an object with state": f"!!python/object/new:type {{args: [x, [], {{}}], state: {{a: {touch}}}}}",
        "a module": "!!python/module:antigravity",
        "a name": "!!python/name:os.system",
        "a tag by directive": f"!<tag:yaml.org,2002:python/object/apply:os.system> [{touch}]",
        "binary": "!!binary aGVsbG8=",
        "a billion laughs": "[&a [lol,lol,lol,lol,lol,lol,lol,lol,lol], &b [*a,*a,*a,*a,*a,*a,*a,*a,*a], *b]",
        "an alias of itself": "&a [*a]",
        "a merge key": "{<<: {seed: 1}}",
        "20,000 brackets": "[" * 20_000,
        "20,000 braces": "{a: " * 20_000,
        "20,000 brackets, closed": "[" * 20_000 + "]" * 20_000,
        "a number of 20,000 digits": "9" * 20_000,
        "a hexadecimal number of 20,000 digits": "0x" + "f" * 20_000,
        "a number above all": "1e999",
        "NaN": ".nan",
        "infinity": "-.inf",
        "the same key twice": "{a: 1, 'a': 2}",
        "10,000 values": "[" + "1," * 10_000 + "]",
        "an escaped NUL": '"a\\0b"',
        "an escape sequence": '"\\e]0;owned\\a"',
        "half a character": '"\\ud800"',
    }  # fmt: skip


def doors(folder: Path, home: Path, value: str) -> Iterator[tuple[str, Sequence[str]]]:
    """Put a value where each reader expects one: the reader's name, and the command."""
    bad = folder / "bad.yaml"
    bad.write_text(f"{GOOD}train: {value}\n")
    yield "recipe", ["run", "bad.yaml"]
    yield "plan", ["plan", "bad.yaml"]
    (folder / "child.yaml").write_text("recipe: 1\nextends: ./bad.yaml\n")
    yield "extends", ["run", "child.yaml"]
    bad.write_text(f"recipe: 1\nextends: lora\nstages: {value}\n")
    yield "stages", ["run", "bad.yaml"]
    yield "--set", ["run", "good.yaml", "--set", f"train.seed={value}"]
    settings, hosts = home / "settings.yaml", home / "hosts.yaml"
    settings.write_text(f"settings: 1\nkeep: {value}\n")
    yield "settings", ["clean"]
    settings.unlink()
    hosts.write_text(f"lab: {value}\n")
    yield "hosts", ["ls", "--on", "lab"]
    hosts.unlink()


def files(folder: Path) -> Iterator[tuple[str, Sequence[str]]]:
    """Make a recipe name something unreadable: one that never ends, one that nobody writes."""
    os.mkfifo(folder / "pipe")
    (folder / "endless").symlink_to("/dev/zero")
    for place in ("/dev/zero", "./endless", "./pipe", "/dev/stdin"):
        (folder / "bad.yaml").write_text(f"recipe: 1\nextends: {place}\n")
        yield f"extends {place}", ["run", "bad.yaml"]
        (folder / "bad.yaml").write_text(GOOD.replace("rows.jsonl", place))
        yield f"data {place}", ["run", "bad.yaml"]
        yield f"recipe {place}", ["run", place]


def answer(words: Sequence[str]) -> tuple[int, str]:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main(words)
    return code, said.getvalue()


def tell(what: str, door: str, words: Sequence[str]) -> None:
    began = time.process_time()
    code, said = answer(words)
    facts = {"what": what, "door": door, "code": code, "said": said, "s": time.process_time() - began}
    facts["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    os.chdir(folder)
    os.environ["FINETOP_HOME"] = sys.argv[2]
    (folder / "good.yaml").write_text(GOOD)
    (folder / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    for what, value in values(sys.argv[3]).items():
        for door, words in doors(folder, Path(sys.argv[2]), value):
            tell(what, door, words)
    for door, words in files(folder):
        tell("not a file", door, words)

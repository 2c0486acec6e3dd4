"""Finds what must not leave this machine in the files to publish: secrets, local paths, its name and its user's."""

from __future__ import annotations

import getpass
import json
import re
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from finetop.core.errors import BadInput
from finetop.core.protocol.messages.push import PICTURE
from finetop.core.runtime import secrets

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
# Lists of words and their pieces: some look like keys, and any word may be a user's name
VOCABULARIES = (
    *("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt"),
    *("added_tokens.json", "tokenizer.model"),
)
HEADER = 64 << 20  # bytes at a file's beginning that hold metadata: safetensors', GGUF's
SHORTEST = 5  # letters of a user's or machine's name; a shorter one is a word by chance
USUAL = {"admin", "debian", "jovyan", "localhost", "runner", "ubuntu", "users", "vscode", "root", "model"}
_ROOTS = (
    "home|root|Users|mnt|media|data|srv|opt|tmp|var|work|workspace|workspaces|scratch|private|nfs|gpfs|lustre"
)
_PATH = re.compile(
    rf"(?<![\w.:/\\-])(?:file://)?/(?:{_ROOTS})/[\w.+@-][^\s\"'`)<>]*"
    r'|"(?:/[\w.+@~-]+){2,}/?"'  # a whole value
    r"|\b[A-Z]:\\+(?:Users|home)\\+\w+"
)
# text: all of it; words: neither names nor paths in general; binary: own paths and the environment's secrets alone
Depth = Literal["text", "words", "binary"]
FIX = "Remove it there, and push again: the folder stays."


def require_none(folder: Path, files: Sequence[str], home: Path, public: Sequence[str]) -> None:
    """Raise BadInput, naming file and line, for the first secret, local path or name of this machine.

    `public` are names that are published anyway: they may contain the user's.
    """
    own = own_paths(folder, home)
    for name in files:
        file = folder / name
        if file.suffix in PICKLES:
            raise BadInput(f"{name} is a pickle, which may hold anything.", hint="Remove it, and push again.")
        for place, text, depth in texts_of(file, name):
            line, what = found_in(text, depth, own, public)
            if what:
                raise BadInput(f"{place}:{line}: holds {what}.", hint=FIX)


def texts_of(file: Path, name: str) -> Iterator[tuple[str, str, Depth]]:
    """Yield a file's place and text, and how deeply it is searched."""
    if file.suffix == ".safetensors":
        yield f"{name} (its metadata)", metadata_of(file), "text"
        return
    if file.name == PICTURE:
        return
    with file.open("rb") as opened:
        content = opened.read(HEADER)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        yield name, content.decode("latin-1"), "binary"
        return
    yield name, text, "words" if file.name in VOCABULARIES else "text"


def metadata_of(file: Path) -> str:
    """Return the metadata of a safetensors file as text, a line each."""
    with file.open("rb") as opened:
        size = int.from_bytes(opened.read(8), "little")
        header = json.loads(opened.read(min(size, HEADER)))
    return "\n".join(f'{key}: "{value}"' for key, value in header.get("__metadata__", {}).items())


def found_in(text: str, depth: Depth, own: Sequence[str], public: Sequence[str]) -> tuple[int, str]:
    """Return the line of the first thing that must not leave, and what it is; 0 and '' if there is none."""
    secret = secrets.locate_value(text) if depth == "binary" else secrets.locate(text)
    if secret is not None:
        return secret.line, secret.what
    if path := own_path_in(text, own):
        return line_of(text, text.index(path)), f"a path of this machine, {path}"
    if depth != "text":
        return 0, ""
    if (match := _PATH.search(text)) is not None:
        return line_of(text, match.start()), f"a local path, {match[0].strip(chr(34))[:120]}"
    for what, name in (("this machine's name", socket.gethostname()), ("your user name", user_name())):
        if len(name) < SHORTEST or name.lower() in USUAL or any(name in word for word in public):
            continue
        if (match := re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text)) is not None:
            return line_of(text, match.start()), f"{what}, {name}"
    return 0, ""


def user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without an entry, as in containers
        return ""


def own_paths(folder: Path, home: Path) -> list[str]:
    """Return the folders of this machine that a file may name: the user's, finetop's, the exported one."""
    paths = {Path.home(), home, folder, folder.parent}
    return sorted((str(path) for path in paths if len(path.parts) > 1), key=len, reverse=True)


def own_path_in(text: str, own: Sequence[str]) -> str:
    """Return one of these folders if a text names it or a file in it: `/root` alone may be a word of a vocabulary."""
    return next((path for path in own if f"{path}/" in text or (path.count("/") > 1 and path in text)), "")


def line_of(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1

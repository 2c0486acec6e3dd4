"""Finds what must not leave this machine in the files to publish: secrets, local paths, its name and its user's."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from finetop.core.errors import BadInput
from finetop.core.features.push.messages import PICTURE
from finetop.core.models.safetensors_header import LONGEST_HEADER
from finetop.core.runtime import secrets
from finetop.core.runtime.user import user_name

# What a model's repository needs as text, without regard to case; '': LICENSE, Modelfile. Any other kind is refused.
TEXTS = (
    *("", ".json", ".jsonl", ".md", ".txt", ".yaml", ".yml", ".jinja", ".tiktoken", ".vocab", ".merges"),
    *(".py", ".toml", ".cfg", ".csv", ".tsv", ".gitattributes"),
)
# how other files begin -> what they are
MAGIC = {
    b"PK\x03\x04": "an archive or a pickle",
    b"\x80": "a pickle",
    b"\x1f\x8b": "an archive",
    b"BZh": "an archive",
    b"\xfd7zXZ": "an archive",
    b"(\xb5/\xfd": "an archive",
    b"7z\xbc\xaf": "an archive",
    b"\xff\xfe": "a text in UTF-16",
    b"\xfe\xff": "a text in UTF-16",
}
# how the binary files of a model begin, in which a vocabulary may have texts that look like keys
BINARIES = {".gguf": b"GGUF", ".model": b"\n", PICTURE: b"\x89PNG\r\n\x1a\n"}
# Lists of words and their pieces: some look like keys, and any word may be a user's name
VOCABULARIES = (
    *("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt"),
    *("added_tokens.json", "tokenizer.model"),
)
LARGEST = 512 << 20  # bytes of a text, which is searched as a whole
BLOCK = 16 << 20  # bytes of weights that are searched at a time
SHORTEST_IN_WEIGHTS = 6  # characters of a path: fewer bytes stand in gigabytes of weights by chance
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
Depth = Literal["text", "words"]  # words: neither names nor paths in general
_ESCAPED = re.compile(r"\\u00([2-7][0-9a-fA-F])")  # of JSON: a letter that need not be escaped
FIX = "Remove it there, and push again: the folder stays."


def require_none(folder: Path, files: Sequence[str], home: Path, public: Sequence[str]) -> None:
    """Raise BadInput, naming file and line, for the first secret, local path or name of this machine.

    So for each file that is not of a kind that can be searched. `public` are names that are published anyway: they may
    contain the user's.
    """
    own = own_paths(folder, home)
    for name in files:
        if (secret := secrets.locate(name)) is not None:
            raise BadInput(f"the name of a file holds {secret.what}.", hint="Rename it, and push again.")
        file = folder / name
        for place, text, depth in texts_of(file, name):
            line, what = found_in(text, depth, own, public)
            if what:
                raise BadInput(f"{place}:{line}: holds {what}.", hint=FIX)
        if Path(name).suffix.lower() == ".safetensors" or is_binary(file, name):
            search_binary(file, name, own)


def search_binary(file: Path, name: str, own: Sequence[str]) -> None:
    """Search all bytes of weights for paths of this machine and secrets of the environment. Raises BadInput."""
    needles = {f"the value of {key}": value for key, value in secrets.values().items()}
    for path in own:
        needles[f"a path of this machine, {path}"] = path if path.count("/") > 1 else f"{path}/"
    wanted = [
        (what, text.encode(code))
        for what, text in needles.items()
        for code in ("utf-8", "utf-16-le")
        if len(text) >= SHORTEST_IN_WEIGHTS
    ]
    overlap = max((len(needle) for _, needle in wanted), default=1) - 1
    before = b""
    with file.open("rb") as opened:
        while block := opened.read(BLOCK):
            block = before + block
            if found := next((what for what, needle in wanted if needle in block), ""):
                raise BadInput(f"{name}: holds {found}.", hint=FIX)
            before = block[-overlap:]


def texts_of(file: Path, name: str) -> Iterator[tuple[str, str, Depth]]:
    """Yield a file's place and text, and how deeply it is searched. Raises BadInput for one that can't be searched."""
    if Path(name).suffix.lower() == ".safetensors":
        yield f"{name} (its metadata)", metadata_of(file, name), "text"
    elif not is_binary(file, name):
        yield name, text_of(file, name), "words" if file.name in VOCABULARIES else "text"


def is_binary(file: Path, name: str) -> bool:
    """Return whether a file is a binary one of a model's, by its name and by how it begins."""
    magic = BINARIES.get(name if name == PICTURE else Path(name).suffix.lower())
    return magic is not None and beginning(file).startswith(magic)


def beginning(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(8)


def text_of(file: Path, name: str) -> str:
    """Read a whole file as UTF-8. Raises BadInput for any other kind."""
    hint = "Remove it, and push again: weights are safetensors or GGUF, all else is text in UTF-8."
    begins = beginning(file)
    if what := next((what for magic, what in MAGIC.items() if begins.startswith(magic)), ""):
        raise BadInput(f"{name} is {what}, which may hold anything.", hint=hint)
    if Path(name).suffix.lower() not in TEXTS:
        raise BadInput(f"{name} is of a kind that no model needs.", hint=hint)
    if (size := file.stat().st_size) > LARGEST:
        raise BadInput(f"{name} has {size >> 20} MiB; a text has at most {LARGEST >> 20}.", hint=hint)
    content = file.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"{name} is no text in UTF-8: byte {error.start:,} is none.", hint=hint) from None
    if "\0" in text:
        raise BadInput(f"{name} is no text in UTF-8: byte {content.index(0):,} is 0.", hint=hint)
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text) if "\\u00" in text else text


def metadata_of(file: Path, name: str) -> str:
    """Return the metadata and the tensors' names of a safetensors file as text, a line each. Raises BadInput."""
    try:
        with file.open("rb") as opened:
            size = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(min(size, LONGEST_HEADER)))
        metadata = header.pop("__metadata__", {})
        return "\n".join([*(f'{key}: "{value}"' for key, value in metadata.items()), *header])
    except (ValueError, AttributeError, RecursionError) as error:
        raise BadInput(f"{name} is no safetensors file.", hint="Remove it, and push again.") from error


def found_in(text: str, depth: Depth, own: Sequence[str], public: Sequence[str]) -> tuple[int, str]:
    """Return the line of the first thing that must not leave, and what it is; 0 and '' if there is none."""
    secret = secrets.locate(text)
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


def own_paths(folder: Path, home: Path) -> list[str]:
    """Return the folders of this machine that a file may name: the user's, finetop's, the exported one."""
    paths = {Path.home(), home, folder, folder.parent}
    return sorted((str(path) for path in paths if len(path.parts) > 1), key=len, reverse=True)


def own_path_in(text: str, own: Sequence[str]) -> str:
    """Return one of these folders if a text names it or a file in it: `/root` alone may be a word of a vocabulary."""
    return next((path for path in own if f"{path}/" in text or (path.count("/") > 1 and path in text)), "")


def line_of(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1

"""80 hostile recipes, settings, data and models: each a file or folder written where a command will read it.

`write(name, given, folder)` makes one. GOOD holds the files around it, so that only the hostile part is wrong.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RECIPE = """\
recipe: 1
extends: lora
name: hostile
model: {id: ./tiny, dtype: float32}
data: {train: [{path: rows.jsonl}], max_tokens: 128}
train: {max_steps: 1, batch_size: 2, grad_accumulation: 1}
check: {at_end: false}
samples: {prompts: []}
"""
TURNS = '{"messages": [{"role": "user", "content": "When?"}, {"role": "assistant", "content": "At nine."}]}\n'


def changed(old: str, new: str) -> str:
    """The good recipe with a part changed."""
    assert old in RECIPE, old
    return RECIPE.replace(old, new)


def in_section(line: str) -> str:
    return RECIPE + line + "\n"


RECIPES: dict[str, str | bytes | Callable[[Path], None]] = {
    "extends itself": changed("extends: lora", "extends: ./hostile.yaml"),
    "extends a ring of two": lambda folder: _ring(folder),
    "extends 200 files": lambda folder: _chain(folder, 200),
    "extends a folder": changed("extends: lora", "extends: ./tiny"),
    "a name that writes backwards": changed("name: hostile", 'name: "run\\u202egnp.exe"'),
    "2**63 steps": changed("max_steps: 1", f"max_steps: {2**63}"),
    "1e300 epochs": changed("max_steps: 1", "epochs: 1.0e+300"),
    "10**9 rows a batch": changed("batch_size: 2", "batch_size: 1000000000"),
    "10**15 tokens a row": changed("max_tokens: 128", "max_tokens: 1000000000000000"),
    "a pattern that never ends for modules": in_section('method: {name: lora, target_modules: "(a+)+$"}'),
    "rank 10**12": in_section("method: {name: lora, rank: 1000000000000}"),
    "10,000 sources": changed("[{path: rows.jsonl}]", "[" + "{path: rows.jsonl}, " * 10_000 + "]"),
    "shares that add up to nothing": changed("{path: rows.jsonl}", "{path: rows.jsonl, share: 0}"),
    "data from the root's folder of processes": changed("path: rows.jsonl", "path: /proc/self/mem"),
    "data of another drive's name": changed("path: rows.jsonl", 'path: "C:\\\\rows.jsonl"'),
    "a NUL in a path": changed("path: rows.jsonl", 'path: "rows\\0.jsonl"'),
    "checks every 1e-12 of it": changed("{at_end: false}", "{every: 1.0e-12}"),
    "a suite that is a device": changed("{at_end: false}", "{general: {suite: /dev/zero}}"),
    "1,000 stages": in_section(
        "stages: {" + ", ".join(f"s{n}: {{extends: lora}}" for n in range(1000)) + "}"
    ),
    "UTF-16 with a mark": RECIPE.encode("utf-16"),
}

SETTINGS: dict[str, str | bytes | Callable[[Path], None]] = {
    "nothing but a dash": "-",
    "a list": "- settings: 1\n- keep: {last: 3}\n",
    "a later format": "settings: 2\n",
    "twice the same": "settings: 1\nkeep: {last: 1}\nkeep: {last: 2}\n",
    "a GPU below 0": "settings: 1\ngpus: {only: [-1]}\n",
    "a GPU of a fraction": "settings: 1\ngpus: {only: [0.5]}\n",
    "no time of day": 'settings: 1\nquiet_hours: {from: "24:00", to: "07:00"}\n',
    "base 60 in place of a time": "settings: 1\nquiet_hours: {from: 22:30, to: 07:15}\n",
    "a day that is none": 'settings: 1\nquiet_hours: {from: "22:00", to: "07:00", days: [caturday]}\n',
    "a webhook to a file": "settings: 1\ntell: {webhook: {url: file:///etc/passwd}}\n",
    "a webhook with a password in it": "settings: 1\ntell: {webhook: {url: 'https://me:pass@x.org/'}}\n",
    "a command of nothing": "settings: 1\ntell: {command: []}\n",
    "a command with a NUL": 'settings: 1\ntell: {command: ["a\\0b"]}\n',
    "waits that are no number": "settings: 1\nretry: {wait_s: .nan}\n",
    "10**9 jobs at a time": "settings: 1\nslots: {cpu_jobs: 1000000000}\n",
    "a sum in a number": "settings: 1\nlogs: {mib: 256*2}\n",
    "a link to itself": lambda place: place.symlink_to(place.name),
    "a folder": lambda place: place.mkdir(),
    "a pipe that nobody writes": lambda place: os.mkfifo(place),
    "a device that never ends": lambda place: place.symlink_to("/dev/zero"),
}

DATA: dict[str, str | bytes | Callable[[Path], None]] = {
    "nothing": "",
    "a million empty lines": "\n" * 1_000_000,
    "gzip": gzip.compress(TURNS.encode()),
    "UTF-16": (TURNS * 3).encode("utf-16"),
    "one line over the limit": '{"messages": [' + '{"role": "user", "content": "a"}, ' * 400_000 + "]}",
    "ends of lines of old Macs": (TURNS * 3).replace("\n", "\r"),
    "a key twice in each row": '{"messages": [], "messages": 3}\n' * 3,
    "half a character": TURNS.replace("nine", "\\ud800") * 3,
    "NULs": TURNS.replace("nine", "\\u0000" * 50) * 3,
    "a hundred thousand marks on one letter": TURNS.replace("nine", "e" + "\u0301" * 100_000) * 3,
    "ten thousand turns": json.dumps(
        {"messages": [{"role": r, "content": "x"} for r in ("user", "assistant")] * 5000}
    )
    * 2,
    "a number of 5,000 digits": TURNS.replace('{"messages"', '{"id": ' + "9" * 5000 + ', "messages"') * 3,
    "steers the terminal": TURNS.replace("nine", "\\u001b[2J\\u001b]0;owned\\u0007") * 3,
    "the template's own marks": TURNS.replace("nine", "<|end|><|assistant|>") * 3,
    "pictures in place of text": TURNS.replace('"When?"', '[{"type": "image", "url": "file:///etc/passwd"}]')
    * 3,
    "an array over all": json.dumps([json.loads(TURNS)] * 3, indent=1),
    "a hole of 1 TB": lambda place: _hole(place, 1 << 40),
    "a pipe that nobody writes": lambda place: os.mkfifo(place),
    "a device that never ends": lambda place: place.symlink_to("/dev/zero"),
    "a link to itself": lambda place: place.symlink_to(place.name),
}


def _ring(place: Path) -> None:
    place.write_text(changed("extends: lora", "extends: ./other.yaml"))
    place.with_name("other.yaml").write_text("recipe: 1\nextends: ./hostile.yaml\n")


def _chain(place: Path, count: int) -> None:
    place.write_text(changed("extends: lora", "extends: ./c0.yaml"))
    for number in range(count):
        after = f"./c{number + 1}.yaml" if number + 1 < count else "lora"
        place.with_name(f"c{number}.yaml").write_text(f"recipe: 1\nextends: {after}\n")


def _hole(place: Path, size: int) -> None:
    with place.open("wb") as file:
        file.truncate(size)


def config(**values: Any) -> Callable[[Path], None]:
    """A model whose config.json has these values instead."""

    def damage(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **values}))

    return damage


def file_of(name: str, content: bytes | str) -> Callable[[Path], None]:
    """A model with this in one of its files."""

    def damage(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return damage


def put(name: str, make: Callable[[Path], None]) -> Callable[[Path], None]:
    """A model with one of its files replaced."""

    def damage(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return damage


def header(tensors: Any) -> bytes:
    """A safetensors file with this header."""
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text + bytes(64)


MODELS: dict[str, Callable[[Path], None]] = {
    "no config": lambda folder: (folder / "config.json").unlink(),
    "a list for a config": file_of("config.json", "[]"),
    "a type that nobody knows": config(model_type="wonder", architectures=["WonderForCausalLM"]),
    "code of its own": config(auto_map={"AutoModelForCausalLM": "evil.Model"}, model_type="evil"),
    "a width of 0": config(hidden_size=0),
    "layers below 0": config(num_hidden_layers=-1),
    "10**12 words": config(vocab_size=10**12),
    "heads that don't divide the width": config(num_attention_heads=7),
    "a width in words": config(hidden_size="wide"),
    "a rotation of an unknown kind": config(rope_scaling={"rope_type": "yes", "factor": "a"}),
    "held in bits by a stranger": config(quantization_config={"quant_method": "evil", "bits": 3}),
    "nested 50,000 deep": file_of("config.json", '{"a":' * 50_000 + "1" + "}" * 50_000),
    "weights of 0 bytes": file_of("model.safetensors", b""),
    "a header of 2**60 bytes": file_of("model.safetensors", struct.pack("<Q", 1 << 60) + b"{}"),
    "tensors beyond the file": file_of(
        "model.safetensors", header({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}})
    ),
    "an index that leads out": lambda folder: (
        (folder / "model.safetensors").unlink(),
        (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../../etc/passwd"}}'),
    )[0],
    "weights that never end": put("model.safetensors", lambda place: place.symlink_to("/dev/zero")),
    "a tokenizer cut off": lambda folder: os.truncate(folder / "tokenizer.json", 100),
    "a template that never ends": file_of(
        "chat_template.jinja",
        "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
    ),
    "an adapter of itself": file_of(
        "adapter_config.json", '{"peft_type": "LORA", "base_model_name_or_path": ".", "r": 1}'
    ),
}


INPUTS: dict[str, dict[str, Any]] = {"recipe": RECIPES, "settings": SETTINGS, "data": DATA, "model": MODELS}
PLACES = {"recipe": "hostile.yaml", "data": "rows.jsonl", "model": "tiny"}


def write(kind: str, what: str, folder: Path, tiny: Path, settings: Path) -> None:
    """Make an input of a kind, and the good files around it, in an empty folder."""
    shutil.copytree(tiny, folder / "tiny")
    (folder / "rows.jsonl").write_text(TURNS * 4)
    (folder / "hostile.yaml").write_text(RECIPE)
    given = INPUTS[kind][what]
    place = settings if kind == "settings" else folder / PLACES[kind]
    if callable(given):
        if kind in ("data", "settings"):
            place.unlink(missing_ok=True)
        given(place)
    else:
        place.write_bytes(given if isinstance(given, bytes) else given.encode())

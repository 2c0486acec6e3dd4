"""What many tests need: a home with the real supervisor on fake jobs, and a tiny model made on the spot."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from finetop.core import protocol
from finetop.core.client import Client
from finetop.core.home import Home, prepare
from finetop.core.recipe.load import resolve_text

TEXTS = [
    "What opens at nine? The shop opens at nine, and closes at six.",
    "Can you mend my radio? Yes, we mend radios, lamps and clocks.",
    "Where are you? We are behind the station, in the old mill.",
    "The quick brown fox jumps over the lazy dog 0123456789.",
]
TEMPLATE = (
    "{%- for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>\n{% endfor %}"
    "{%- if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with a byte-level tokenizer and a chat template, saved as safetensors (once a worker)."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    build_tiny_model(folder)
    return folder


def build_tiny_model(folder: Path) -> None:
    """Save a model with random weights from a fixed seed: 64 wide, 2 layers, about 150,000 parameters."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    trained = ByteLevelBPETokenizer()
    special = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>"]
    trained.train_from_iterator(
        TEXTS, vocab_size=400, min_frequency=1, special_tokens=special, show_progress=False
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=trained._tokenizer, eos_token="<|end|>", pad_token="<|pad|>", chat_template=TEMPLATE
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


PROGRAM = Path(__file__).parent / "core" / "supervisor" / "fake_supervisor.py"
RECIPE = "recipe: 1\nextends: lora\nname: fake\ncheck: {at_end: false}\ndata: {train: [{path: rows.jsonl}]}\n"


@dataclass
class Rig:
    """Starts, kills and asks one supervisor."""

    home: Home
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, **environment: str) -> subprocess.Popen[bytes]:
        prepare(self.home)
        with self.home.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(PROGRAM), "--home", str(self.home.root)],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **environment},
            )
        self.processes.append(process)
        return process

    def wait_ready(self, timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                with Client(self.home, start=False) as client:
                    client.ask(protocol.Hello())
            except Exception:
                if time.monotonic() > deadline:
                    raise AssertionError(self.home.log.read_text()) from None
                time.sleep(0.02)
            else:
                return

    def ask(self, ask: protocol.Ask) -> Any:
        with Client(self.home, start=False) as client:
            return client.ask(ask)

    def submit(self, name: str = "fake", **plan: Any) -> str:
        loaded = resolve_text(RECIPE)
        check = {**loaded.resolved["check"], "at_end": plan.get("check", False)}
        recipe = {**loaded.resolved, "about": json.dumps(plan), "check": check}
        return str(self.ask(protocol.Submit(recipe, loaded.text, name)).name)

    def wait_state(self, name: str, *words: str, timeout_s: float = 30.0) -> Any:
        from finetop.core.run import word

        deadline = time.monotonic() + timeout_s
        while True:
            row = self.ask(protocol.GetRun(name)).row
            if word(row.state) in words:
                return row
            if time.monotonic() > deadline:
                raise AssertionError(f"{name} is {row.state}; {self.home.log.read_text()}")
            time.sleep(0.05)

    def job_folder(self, name: str) -> Path:
        detail = self.ask(protocol.GetRun(name))
        return self.home.root / detail.folder / detail.jobs[-1].folder

    def stop_all(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        for record in self.home.runs.glob("*/jobs/*/keeper.json"):
            pid = json.loads(record.read_text())["pid"]
            for number in (signal.SIGUSR1, signal.SIGKILL):
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    break
                time.sleep(0.05)


@pytest.fixture
def cold_rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(Home(tmp_path / "home"))
    yield made
    made.stop_all()


@pytest.fixture
def rig(cold_rig: Rig) -> Rig:
    cold_rig.start()
    cold_rig.wait_ready()
    return cold_rig

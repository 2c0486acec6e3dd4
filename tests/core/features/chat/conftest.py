"""A home with a run of the tiny model: an adapter's checkpoint, and a whole model's, as a chat job finds them."""

import json
import warnings
from pathlib import Path

import pytest
from tiny_run import recipe_text

from finetop.core.features.chat.messages import ChatSide
from finetop.core.features.chat.transcript import Place, Side
from finetop.core.protocol.runs import JobSpec
from finetop.core.recipe.job import Job
from finetop.core.recipe.load import resolve_text
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home, prepare
from finetop.core.runtime.stop_signal import Stop

FOLDER, ADAPTER, WHOLE = "runs/0001-tiny", "checkpoints/step-000004", "checkpoints/step-000008"


class World:
    """One run in a home, and its chats."""

    def __init__(self, root: Path, model: Path) -> None:
        self.home, self.model = Home(root), model
        self.folder = root / FOLDER
        self.chats = 0

    def side(self, kind: str, checkpoint: str = "", **more) -> Side:
        is_adapter = checkpoint == ADAPTER
        label = kind if kind == "base" else checkpoint[-1]
        return Side(ChatSide(label, kind, run="tiny", **more), Place(FOLDER, checkpoint, is_adapter))

    def job(self, *sides: Side) -> Job:
        """Make the folder of a chat with these sides."""
        self.chats += 1
        folder = self.folder / "jobs" / f"{self.chats:04d}-chat"
        folder.mkdir(parents=True)
        recipe = json.loads((self.folder / "run.json").read_bytes())["recipe"]
        args = {"sides": [side.plain for side in sides], "on_cpu": True}
        spec = JobSpec(1, self.chats, 1, "tiny", "chat", recipe, args)
        return Job(spec, folder, EventLog(folder / "events.jsonl"), Stop())


@pytest.fixture(scope="session")
def world(tmp_path_factory, tiny_model):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    made = World(tmp_path_factory.mktemp("chat") / "home", tiny_model)
    prepare(made.home)
    rows = made.home.root / "rows.jsonl"
    rows.write_text('{"prompt": "a", "completion": "b"}\n')
    recipe = resolve_text(recipe_text(tiny_model, rows, {"train": {"max_steps": 8}})).resolved
    made.folder.mkdir(parents=True)
    (made.folder / "run.json").write_text(json.dumps({"recipe": recipe}))
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    torch.manual_seed(3)
    whole = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    with torch.no_grad():
        for weight in whole.parameters():
            weight += 0.05 * torch.randn_like(weight)
    config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    with warnings.catch_warnings(action="ignore"):
        adapted = get_peft_model(base, config)
    for model, name in ((whole, WHOLE), (adapted, ADAPTER)):
        model.save_pretrained(made.folder / name)
        tokenizer.save_pretrained(made.folder / name)
    return made

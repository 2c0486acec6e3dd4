"""A run's model as another's base: found by number, name and step, merged once, kept."""

from __future__ import annotations

import json

import pytest
import torch
from tiny_run import recipe_text

from finetop.core.data.weight_files import adapter_hash
from finetop.core.errors import BadInput, NotFound
from finetop.core.models import checkpoint, load, resolve
from finetop.core.recipe.load import resolve_text
from finetop.core.recipe.schema import Model


def make_run(home, tiny_model, events, name, method, steps):
    from finetop.core.train import methods
    from finetop.core.train.methods import _start

    own = {"method": {"name": method}, "train": {"max_steps": 1}}
    loaded = resolve_text(recipe_text(tiny_model, home.root / "rows.jsonl", own))
    folder = home.runs / name
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"recipe": loaded.resolved}))
    base = resolve.resolve_model(loaded.recipe.model, home, events)
    model, tokenizer = load.load_model(base, torch.float32, "cpu")
    model = methods.load(method).prepare(model, loaded.recipe.method.options, _start.Start())
    for step in steps:
        with torch.no_grad():
            for weight in model.parameters():
                if weight.requires_grad:
                    weight.add_(0.05)
        checkpoint.write(model, tokenizer, base, folder, step, events)
    return model.eval()


def test_an_adapter_is_merged_once_and_a_whole_model_is_taken_as_it_is(home, tiny_model, events):
    tuned = make_run(home, tiny_model, events, "0007-a", "lora", [10, 20])
    make_run(home, tiny_model, events, "0008-a", "full", [5])
    found = resolve.resolve_model(Model(id="run:7@20", dtype="float32"), home, events)
    assert found.path.parent == home.models / "merged"
    assert found.source == "run 0007-a, step 20, merged"
    model, tokenizer = load.load_model(found, torch.float32, "cpu")
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        assert torch.allclose(model.eval()(ids).logits, tuned(ids).logits, atol=1e-5)
    assert tokenizer.chat_template
    parent = home.runs / "0007-a/checkpoints/step-000020"
    facts = json.loads((found.path / "finetop.json").read_text())
    assert facts["adapter_hash"] == adapter_hash(parent, home), "by which a verdict knows its base again"
    made = (found.path / "model.safetensors").stat().st_mtime_ns
    again = resolve.resolve_model(Model(id="run:7@20", dtype="float32"), home, events)
    assert (again.path, again.weights_hash) == (found.path, found.weights_hash)
    assert (again.path / "model.safetensors").stat().st_mtime_ns == made
    assert resolve.resolve_model(Model(id="run:7@10"), home, events).path != found.path
    whole = resolve.resolve_model(Model(id="run:a"), home, events)  # the newest run with that name
    assert whole.path == home.runs / "0008-a" / "checkpoints" / "step-000005"


@pytest.mark.parametrize(("text", "kind", "says"), [
    ("run:9", NotFound, "model.id: there is no run '9'"),
    ("run:7@3", NotFound, "model.id: run:7@3 has no checkpoint at step 3. It has none yet."),
    ("run:", BadInput, "model.id: 'run:' names no run"),
    ("run:a@b", BadInput, "model.id: 'run:a@b' names no run"),
])  # fmt: skip
def test_what_is_not_there_is_said(home, events, text, kind, says):
    (home.runs / "0007-x").mkdir(parents=True)
    with pytest.raises(kind) as caught:
        resolve.resolve_model(Model(id=text), home, events)
    assert says in str(caught.value)

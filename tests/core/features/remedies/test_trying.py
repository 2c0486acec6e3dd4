"""The job: candidates on the selection items, the best confirmed on fresh ones, and exported as it was scored."""

import json
from dataclasses import replace

import msgspec
import pytest
import torch
from choice_suite import with_golds, write_choice_suite
from method_bench import base_of, disturb
from safetensors.torch import load_file
from tiny_run import chat, of, read_events, recipe_text, write_rows
from transformers import AutoModelForCausalLM

from finetop.core.check.tasks.suite import general_text
from finetop.core.data.weight_files import model_hash
from finetop.core.errors import FinetopError
from finetop.core.features.export import export
from finetop.core.features.remedies import job as _job, remedies
from finetop.core.features.remedies.job import request_of
from finetop.core.features.remedies.remedies import intruders
from finetop.core.models import load
from finetop.core.protocol import events as told
from finetop.core.protocol.runs import JobSpec
from finetop.core.recipe.job import Job
from finetop.core.recipe.load import recipe_from_mapping, resolve_text
from finetop.core.runtime import event_log
from finetop.core.runtime.home import Home
from finetop.core.runtime.stop_signal import Stop

ITEMS = 160
CANDIDATES = remedies.candidates(remedies.Subject(20, False, True, False, "none", (10,)))


@pytest.fixture
def home(tmp_path, tiny_model):
    """A home with a suite that the base answers perfectly."""
    new_home = Home(tmp_path / "home")
    new_home.models.mkdir(parents=True)
    rows = [
        {"id": f"n{at}", "question": f"The shop number {at} is", "choices": ["open", "mill"]}
        for at in range(ITEMS)
    ]
    write_choice_suite(new_home.root, {"numbers": with_golds(tiny_model, rows)})
    write_rows(new_home.root / "rows.jsonl", [chat(f"Hi {n}", "yes we do") for n in range(4)])
    return new_home


def spoilt(tiny_model, folder, size):
    """Save the model with perturbed weights."""
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    disturb(model, size, seed=2)
    model.save_pretrained(folder)
    load.load_tokenizer(base_of(tiny_model)).save_pretrained(folder)


def spec_of(home, tiny_model, names):
    data = home.root / "rows.jsonl"
    target = {"path": str(data), "metric": "nats_per_token"}
    check = {"at_end": True, "general": {"suite": "tiny", "margin": 10.0}, "target": target}
    text = recipe_text(
        tiny_model, data, {"method": {"name": "full"}, "train": {"epochs": 1.0}, "check": check}
    )
    recipe = resolve_text(text).resolved
    candidates = [
        {**msgspec.to_builtins(candidate), "checkpoint": f"checkpoints/step-{candidate.step:06d}"}
        for candidate in CANDIDATES
        if candidate.name in names
    ]
    args = {"step": 20, "checkpoint": "checkpoints/step-000020", "candidates": candidates}
    return JobSpec(1, 1, 1, "run", "remedy", recipe, args)


def run_job(home, spec):
    """Run the job in this process. Returns its events."""
    folder = home.runs / "0001-run" / "jobs" / "0001-remedy"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "events.jsonl").unlink(missing_ok=True)
    log = event_log.EventLog(folder / "events.jsonl")
    _job.try_all(request_of(Job(spec, folder, log, Stop()), "cpu"), home, log)
    log.close()
    return read_events(folder)


@pytest.fixture
def loads(monkeypatch):
    """Count the models that are loaded."""
    counted, real = [], load.load_model

    def counting(base, *rest):
        counted.append(base.path.name)
        return real(base, *rest)

    monkeypatch.setattr(load, "load_model", counting)
    return counted


def test_from_candidates_to_a_confirmed_one_that_is_exported(home, tiny_model, tmp_path, loads, monkeypatch):
    checkpoints = home.runs / "0001-run" / "checkpoints"
    spoilt(tiny_model, checkpoints / "step-000010", 0.001)
    spoilt(tiny_model, checkpoints / "step-000020", 0.5)
    monkeypatch.setattr(intruders, "without_intruders", breaks)
    spec = spec_of(home, tiny_model, ("checkpoint-10", "interpolate-0.25", "intruders"))
    events_found = run_job(home, spec)
    tried = {event.name: event for event in of(told.RemedyTried, events_found)}
    assert list(tried) == ["now", "checkpoint-10", "interpolate-0.25", "intruders"]
    assert tried["now"].verdict == "regressed"
    assert tried["now"].items_total == ITEMS / 2 and tried["now"].made_of == 20
    assert tried["now"].gain is None and not tried["now"].weights
    for step in (10, 20):  # each is of the weights that it was made of
        digest = model_hash(checkpoints / f"step-0000{step}", home)
        assert {
            event.models["tuned"] for event in tried.values() if event.made_of == step and event.models
        } == {digest}
    assert tried["checkpoint-10"].verdict == "ok" and tried["checkpoint-10"].made_of == 10
    # a candidate's own failure is recorded with that candidate
    assert (tried["intruders"].verdict, tried["intruders"].reason) == ("failed", "this one can't be made.")
    quarter = tried["interpolate-0.25"]
    assert len(quarter.weights) == 64 and set(quarter.target) == {"nats_per_token"}
    ends = of(told.RemedyConfirmed, events_found)
    assert ends[-1].verdict == "ok" and tried[ends[-1].name].verdict == "ok"
    assert ends[-1].alpha == pytest.approx(0.05 / remedies.most_candidates())
    assert ends[-1].items_total == ITEMS / 2 and ends[-1].items_used <= ITEMS / 2
    assert not of(told.Scores, events_found)
    phases = {event.name for event in of(told.Phase, events_found)}
    assert any(name.startswith("1/4 of the change: ") for name in phases)
    assert any(name.startswith("confirming ") for name in phases)

    # again: all scores are cached, nothing is loaded for them, and the events are the same
    loads.clear()
    again = run_job(home, spec)
    assert list(map(replace_seconds, of(told.RemedyTried, again))) == list(
        map(replace_seconds, tried.values())
    )
    assert of(told.RemedyConfirmed, again) == ends
    assert loads == ["step-000020"], "for the one that failed"

    export_it(home, tiny_model, tmp_path, spec, quarter)


def breaks(*_):
    raise FinetopError("this one can't be made.")


def replace_seconds(event):
    return msgspec.structs.replace(event, seconds=0.0)


def export_it(home, tiny_model, tmp_path, spec, tried):
    """The exported weights are those that were scored, to the bit; if they are not, the export is refused."""
    recipe = recipe_from_mapping(spec.recipe, "job.json", to_train=False)
    candidate = next(one for one in CANDIDATES if one.name == tried.name)
    checkpoint = home.runs / "0001-run" / "checkpoints" / "step-000020"
    wanted = export.ExportRequest(
        recipe, "run", 20, checkpoint, tmp_path / "out", "auto", "cpu",
        export.Remedied(candidate, tried.weights), verdict="OK -0.4 points",
    )  # fmt: skip
    log = event_log.EventLog(tmp_path / "export.jsonl")
    agreements = export.export(wanted, general_text(wanted.recipe, home), home, log)
    assert all(one.holds for one in agreements)
    folders = (tiny_model, checkpoint, tmp_path / "out")
    base, tuned, out = (load_file(folder / "model.safetensors") for folder in folders)
    for name, weight in out.items():
        assert torch.equal(weight, torch.lerp(base[name], tuned[name], 0.25)), name
    facts = json.loads((tmp_path / "out" / "finetop.json").read_text())
    assert facts["remedy"]["settings"] == {"strength": 0.25} and facts["verdict"] == "OK -0.4 points"
    other = replace(wanted, to=tmp_path / "other", remedy=export.Remedied(candidate, "f" * 64))
    with pytest.raises(FinetopError, match="its weights are not those that were scored"):
        export.export(other, general_text(other.recipe, home), home, log)
    assert not (tmp_path / "other").exists()
    log.close()

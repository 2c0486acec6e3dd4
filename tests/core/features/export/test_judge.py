"""Exported files against what was trained: sound ones are ok, a broken one is refused; both programs score alike."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from export_bench import make_checkpoint, recipe_of
from tiny_run import chat, of, read_events, write_rows

from finetop.core.check import model_pair
from finetop.core.check.scoring import llama_cpp
from finetop.core.check.scoring.packing import TokenSequence
from finetop.core.check.scoring.scorer import plan_for, score
from finetop.core.check.tasks.suite import general_text
from finetop.core.errors import FinetopError
from finetop.core.features.export import gguf, gguf_log, judge as exported
from finetop.core.features.export.export import ExportRequest
from finetop.core.features.export.gguf_writer import convert
from finetop.core.models import merge, resolve
from finetop.core.models.llama_cpp.model import open_model
from finetop.core.protocol import events as told
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home

HAS_LLAMA_CPP = find_spec("llama_cpp_py_sync") is not None
pytestmark = [
    pytest.mark.skipif(not HAS_LLAMA_CPP, reason="llama.cpp is not installed: finetop[gguf]"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]
SUITE = """\
suite: 1
name: tiny
about: one task to choose, one to write
text: text.txt
tasks:
  - {name: numbers, data: numbers.jsonl, chance: 0.0, metric: acc, lm_eval: {
      output_type: multiple_choice, doc_to_text: "{{question}}", doc_to_target: gold, doc_to_choice: choices}}
  - {name: words, data: words.jsonl, chance: 0.0, metric: exact_match, lm_eval: {
      output_type: generate_until, doc_to_text: "{{question}}", doc_to_target: answer,
      generation_kwargs: {until: ["zz"], max_gen_toks: 4}}}
"""
ITEMS, WRITTEN = 120, 8
WORDS = (" open", " mill")


def question(at: int) -> str:
    return f"The shop number {at} is"


def pairs_of(tokenizer) -> list[TokenSequence]:
    def encode(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False)

    heads = [encode(question(at)) for at in range(ITEMS)]
    return [TokenSequence((*head, *encode(word)), len(head)) for head in heads for word in WORDS]


@pytest.fixture
def world(tmp_path, tiny_model):
    """A home with a suite whose choices the checkpoint gets right, and answers its base; and the order to export."""
    home = Home(tmp_path / "home")
    folder = home.root / "suites"
    folder.mkdir(parents=True)
    home.models.mkdir()
    events = EventLog(tmp_path / "events.jsonl")
    write_rows(tmp_path / "test.jsonl", [chat(f"Hi {n}", "yes we do") for n in range(4)])
    target = {"path": str(tmp_path / "test.jsonl"), "metric": ["nats_per_token", "token_f1"]}
    recipe = recipe_of(tiny_model, check={"general": {"suite": "tiny", "margin": 10.0}, "target": target})
    (folder / "tiny.yaml").write_text(SUITE)
    (folder / "text.txt").write_text("The shop opens at nine and closes at six, but for Sundays. " * 60)
    checkpoint = make_checkpoint(tmp_path, recipe, home, events)
    base = resolve.resolve_model(recipe.model, home, events)
    tuned, tokenizer = merge.load_tuned(base, checkpoint, torch.float32, "cpu")
    scored = [each.log_prob for each in score(tuned, pairs_of(tokenizer), plan_for("cpu"))]
    rows = [
        {"id": f"n{at}", "category": "all", "question": question(at), "choices": ["open", "mill"],
         "gold": int(scored[2 * at + 1] > scored[2 * at])}
        for at in range(ITEMS)
    ]  # fmt: skip
    write_rows(folder / "numbers.jsonl", rows)
    words = []
    for at in range(WRITTEN):
        ids = tokenizer(question(at), return_tensors="pt", add_special_tokens=False)
        with tuned.disable_adapter():
            written = tuned.generate(**ids, max_new_tokens=4, do_sample=False, pad_token_id=0)[0]
        answer = tokenizer.decode(written[ids.input_ids.shape[1] :], skip_special_tokens=True)
        words.append({"id": f"w{at}", "category": "all", "question": question(at), "answer": answer})
    write_rows(folder / "words.jsonl", words)
    order = ExportRequest(
        recipe, "tiny", 7, checkpoint, tmp_path / "out", "auto", "cpu", quants=("f32", "f16", "q4_0"),
        general={"suite": "tiny", "margin": 10.0},
    )  # fmt: skip
    yield order, home, events, tmp_path
    events.close()


@pytest.fixture
def q4_0_is_broken(monkeypatch):
    """Disturb the weights of files in q4_0 after they are quantized."""
    quantize = convert.Process.quantize

    def break_it(process, source, target, kind):
        quantize(process, source, target, "f32" if kind == "q4_0" else kind)
        if kind == "q4_0":
            from gguf import GGUFReader

            generator = torch.Generator().manual_seed(1)
            for tensor in GGUFReader(target, "r+").tensors:
                if tensor.data.ndim == 2:
                    tensor.data[:] = torch.randn(tensor.data.shape, generator=generator).numpy()

    monkeypatch.setattr(convert.Process, "quantize", break_it)
    monkeypatch.setattr(convert.reference, "WINDOWS", 1)
    monkeypatch.setattr(convert.reference.material, "PROMPTS", ("Who wrote Hamlet?", "What is 17 + 25?"))


@pytest.mark.slow
def test_sound_files_are_ok_a_broken_one_is_refused_and_one_that_is_not_asked_says_why(
    world, q4_0_is_broken, capsys
):
    order, home, events, log = world
    text = general_text(order.recipe, home)
    with pytest.raises(FinetopError, match=r"q4_0 is REGRESSED -\d+\.\d \(lost numbers -") as refused:
        gguf.export_gguf(order, text, home, events, exported.prepare)
    assert refused.value.exit_code == 1
    assert "tiny-7-q4_0.gguf.unproven" in refused.value.hint and "--anyway" in refused.value.hint
    written = {file.name for file in order.to.iterdir()}
    assert written == {"tiny-7-f32.gguf", "tiny-7-f16.gguf", "tiny-7-q4_0.gguf.unproven", "finetop.json",
                       "Modelfile.f32", "Modelfile.f16"}  # fmt: skip
    files = [line.file for line in of(told.ExportJudged, read_events(log))]
    whole, half, broken = files
    assert [file.standing for file in files] == ["written", "written", "refused"]
    for file in (whole, half):
        verdict = file.verdict
        assert (verdict.verdict, verdict.lost, verdict.answers_differ) == ("ok", 0, 0)
        base, tuned, of_file = verdict.scores
        assert tuned == of_file and base is not None
        means = {task.task: task.scores for task in verdict.tasks}
        assert means["numbers"][1:] == (1.0, 1.0) and means["words"][0] == 1.0
    for metric in ("nats_per_token", "token_f1"):
        _, tuned, of_file = whole.verdict.target[metric].scores
        assert of_file == pytest.approx(tuned, abs=1e-3)
    assert broken.verdict.target["nats_per_token"].low > 1.0
    assert broken.verdict.verdict == "regressed" and broken.verdict.drop > 0.1
    assert broken.verdict.items_used <= broken.verdict.items_total == ITEMS + WRITTEN
    printed = capsys.readouterr().out
    assert "f16: ok 0.0 against what was trained, " in printed and "REGRESSED" in printed
    facts = gguf_log.facts_in(printed)["files"]
    assert [file["standing"] for file in facts] == ["written", "written", "refused"]
    assert facts[1]["verdict"]["items_used"] == half.verdict.items_used

    anyway = replace(order, quants=("q4_0",), anyway=True, to=order.to.with_name("anyway"))
    gguf.export_gguf(anyway, text, home, events, exported.prepare)
    assert {file.name for file in anyway.to.iterdir()} == {"tiny-7-q4_0.gguf", "Modelfile", "finetop.json"}
    assert "REGRESSED" in capsys.readouterr().out

    base = resolve.resolve_model(order.recipe.model, home, events)
    tuned, tokenizer = merge.load_tuned(base, order.checkpoint, torch.float32, "cpu")
    pairs = pairs_of(tokenizer)
    ours = score(tuned, pairs, plan_for("cpu"))
    with open_model(order.to / whole.name, 512) as model:
        theirs = [llama_cpp.score(model, pair) for pair in pairs]
        assert llama_cpp.score(model, TokenSequence((1, 2), 2)).log_prob == 0.0
    assert max(abs(a.log_prob - b.log_prob) for a, b in zip(ours, theirs, strict=True)) < 1e-3
    assert [a.is_greedy for a in ours] == [b.is_greedy for b in theirs]

    # A file that is not asked says why.
    order = replace(order, quants=("q4_0",), to=order.to.with_name("unasked"))
    lost = replace(order, general={"suite": "gone"})
    with pytest.raises(FinetopError, match=r"can't be asked the items of the check: .*gone") as caught:
        gguf.export_gguf(lost, text, home, events, exported.prepare)
    assert "--no-check" in caught.value.hint and not order.to.exists()
    order = replace(order, general=None, unasked="tiny@7 has no check to compare with")
    gguf.export_gguf(order, text, home, events, exported.prepare)
    file = of(told.ExportJudged, read_events(log))[-1].file
    assert (file.verdict, file.standing, file.unasked) == (None, "written", order.unasked)
    assert f"  not asked the items of a check: {order.unasked}\n" in capsys.readouterr().out


@pytest.mark.slow
def test_all_that_needs_a_gpu_is_done_before_llama_cpp_begins(world, q4_0_is_broken, monkeypatch):
    """Proving, quantizing and asking take a quarter of an hour for 8B parameters, on the CPU alone."""
    order, home, events, log = world
    monkeypatch.setattr(exported, "on_gpu", lambda device: True)
    prove = gguf.prove_and_quantize

    def from_then_on(*of):
        monkeypatch.setattr(
            model_pair, "_load", lambda *of: pytest.fail("a model was loaded after the release")
        )
        monkeypatch.setattr(convert.reference, "load", lambda *of: pytest.fail("so was the reference"))
        return prove(*of)

    monkeypatch.setattr(gguf, "prove_and_quantize", from_then_on)
    gguf.export_gguf(
        replace(order, quants=("f16",)), general_text(order.recipe, home), home, events, exported.prepare
    )
    phases = [(phase.name, phase.releases_gpu) for phase in of(told.Phase, read_events(log))]
    assert phases.count(("proving it with llama.cpp", True)) == sum(releases for _, releases in phases) == 1
    (file,) = (line.file for line in of(told.ExportJudged, read_events(log)))
    assert (file.verdict.verdict, file.verdict.answers_differ) == ("ok", 0)

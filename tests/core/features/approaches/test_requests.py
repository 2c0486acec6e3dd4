"""Requests for comparisons of approaches: queued, measured, reused, shown, and stored."""

import json

import pytest
from waiting import wait_until

from finetop.core.errors import FinetopError
from finetop.core.features.approaches import approaches
from finetop.core.features.approaches.messages import Approaches, ApproachRun, SubmitApproaches
from finetop.core.protocol.messages.checks import Check
from finetop.core.protocol.messages.queue import Retry
from finetop.core.protocol.messages.runs import GetRun, Sql
from finetop.core.protocol.messages.trash import Remove
from finetop.core.protocol.runs import word
from finetop.core.recipe.load import resolve_text
from finetop.core.supervisor.rebuild.rebuild import rebuild

RECIPE = """recipe: 1
extends: lora
name: kb
data: {train: [{path: rows.jsonl}], eval: {share: 0}}
ask: {documents: [docs.md]}
check: {target: {path: test.jsonl, metric: token_f1}, general: null, at_end: false}
approaches:
  only: [prompt, retrieval, lora]
  seeds: 2
  update: {documents: [new.md], train: [{path: news.jsonl}], test: ask.jsonl}
"""
NEWS = {"news": [0.0] * 12, "news_learned": [0.5, 0.6] * 6}
PLANS = {
    "prompt": {"f1": [0.1, 0.2] * 12, **NEWS},
    "retrieval": {"f1": [0.7, 0.9] * 12, **NEWS, "news_after": [0.8, 0.9] * 6, "news_s": 0.25, "prompt": 400.0,
                  "index_s": 0.5, "latency": 2.0},
    "lora": {"f1": [0.6, 0.9, 0.8, 0.8] * 6, **NEWS, "steps": 3, "pause_s": 0.05},
}  # fmt: skip


def ask_for(plans=PLANS, digest=lambda name: f"digest of {name}", only=(), seeds=None, **changed):
    points, _ = approaches.planned_runs(resolve_text(RECIPE).recipe, only, seeds)
    runs = []
    for point in points:
        if point.approach in plans:
            recipe = {**point.recipe, "about": json.dumps(plans[point.approach])}
            made = (point.name, point.approach, point.seed, recipe, digest(point.name), point.learns_news)
            runs.append(ApproachRun(*made))
    facts = {"name": "kb", "subject": "s", "metric": "token_f1", "left_out": {}, "source": RECIPE}
    return SubmitApproaches(runs=runs, **{**facts, **changed})


def wait_measured(rig, name="kb"):
    def measured():
        answer = rig.ask(Approaches(name))
        return answer if all(row.state != "under way" for row in answer.rows) else None

    return wait_until(measured, lambda: str(rig.ask(Approaches(name))))


@pytest.mark.slow
def test_what_trains_is_measured_when_it_is_trained_and_a_run_is_used_again(rig):
    queued = rig.ask(ask_for({"lora": PLANS["lora"]}, only=["lora"], seeds=1))
    made = [(one.name, one.was_there) for one in queued.runs]
    assert made == [("kb-lora", False), ("kb-lora-update", False)]
    (row,) = wait_measured(rig).rows
    assert row.news.after.mean == pytest.approx(0.55) and row.news.seconds > 0.1
    assert [job.verb for job in rig.ask(GetRun("kb-lora")).jobs] == ["train", "measure"]
    again = rig.ask(ask_for({"lora": PLANS["lora"]}, only=["lora"], seeds=1, subject="another"))
    assert again.comparison == "kb-2" and all(one.was_there for one in again.runs)
    assert rig.ask(GetRun("kb-lora")).row.tags == ["approaches/kb", "approaches/kb-2"]


@pytest.mark.slow
def test_a_comparison_is_queued_measured_shown_used_again_and_made_anew_from_the_run_folders(rig):
    queued = rig.ask(ask_for(left_out={"few-shot": "no rows"}))
    names = "kb-prompt kb-retrieval kb-lora-s1 kb-lora-s2 kb-lora-update"
    assert [one.name for one in queued.runs] == names.split()
    found = wait_measured(rig)
    rows = {row.name: row for row in found.rows}
    assert list(rows) == ["retrieval", "lora", "prompt", "few-shot"], "the best first, what was left out last"
    best, lora, prompt = rows["retrieval"], rows["lora"], rows["prompt"]
    assert best.is_best and best.gap is None and best.target.mean == pytest.approx(0.8)
    assert lora.gap.mean == pytest.approx(-0.025) and lora.gap.is_open and lora.target.seeds == 2
    assert not prompt.gap.is_open and prompt.retained.same_weights and lora.retained is None
    assert (best.setup_s, best.prompt_tokens) == (0.5, 400.0) and lora.setup_s > 0.1
    assert (best.news.how, best.news.seconds) == ("index", 0.25) and best.news.after.mean == pytest.approx(
        0.85
    )
    assert (lora.news.how, lora.news.seconds > 0.1) == ("train", True)
    assert lora.news.after.mean == pytest.approx(0.55)
    assert prompt.news.after is None and prompt.news.why_not
    assert rows["few-shot"].state == "left out" and rows["few-shot"].message == "no rows"
    said = {one.topic: one.text for one in found.advice}
    assert "lora can't be distinguished from it" in said["on this target"]
    assert said["changing knowledge"].startswith("Either way: new facts are answered better by")
    assert "retrieval, after 0.25 s of indexing (0.00 to 0.85, by 0.85" in said["changing knowledge"]

    row = rig.ask(GetRun("kb-prompt")).row
    assert (row.method, row.objective, word(row.state)) == ("none", "none", "finished")
    assert row.tags == ["approaches/kb"]
    jobs = rig.ask(GetRun("kb-lora-s1")).jobs
    assert [job.verb for job in jobs] == ["train", "measure"] and jobs[1].args["step"] == 3
    with pytest.raises(FinetopError, match="trains no weights"):
        rig.ask(Check("kb-prompt"))

    # repeating it makes nothing new; other settings of one approach make only that one again
    again = rig.ask(ask_for())
    assert all(one.was_there for one in again.runs) and again.comparison == "kb"
    fewer = {"prompt": {**PLANS["prompt"], "f1": [0.3] * 24}}
    other = rig.ask(ask_for(fewer, lambda name: f"other of {name}"))
    assert [(one.name, one.was_there) for one in other.runs] == [("kb-prompt-2", False)]
    found = wait_measured(rig)
    assert [row.target.mean for row in found.rows if row.name == "prompt"] == [pytest.approx(0.3)]
    assert rig.ask(GetRun("kb-prompt")).row.tags == []
    elsewhere = rig.ask(ask_for(fewer, lambda name: f"other of {name}", subject="another target"))
    assert elsewhere.comparison == "kb-2" and elsewhere.runs[0].was_there

    rig.wait_state("kb-prompt-2", "finished")
    before = rig.ask(Approaches("kb"))
    assert rig.ask(Sql("SELECT count(*) FROM measured")).rows == [[6]]
    rig.ask(Remove(["kb-prompt"]))
    assert rig.ask(Sql("SELECT count(*) FROM measured")).rows == [[5]]
    rig.shut_down()
    assert rebuild(rig.home).left_out == []
    rig.up()
    found = rig.ask(Approaches("kb"))
    assert found.rows == before.rows and found.advice == before.advice
    says_why_one_failed_and_tries_it_again(rig)


def says_why_one_failed_and_tries_it_again(rig):
    broken = {"prompt": {"refuses": {"cause": "no such document", "exit_code": 2}}}
    rig.ask(ask_for(broken, lambda name: "", name="broken", subject="b"))
    rig.wait_state("kb-prompt", "failed")
    (row,) = wait_measured(rig, "broken").rows
    assert row.state == "failed" and "no such document" in row.message
    assert rig.ask(Retry("kb-prompt")).what == "approach"
    with pytest.raises(FinetopError, match="there is no comparison 'kc'"):
        rig.ask(Approaches("kc"))

"""`finetop report` on the real supervisor with fake jobs: where it writes, and what it refuses."""

import json

import pytest
from typed import refuses

from finetop.core.features.approaches import approaches
from finetop.core.features.approaches.messages import ApproachRun, SubmitApproaches
from finetop.core.recipe.load import resolve_text


@pytest.fixture
def rig(shared_rig):
    return shared_rig


def test_one_page_is_written_and_none_is_overwritten(finetop, rig, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = rig.submit("one", steps=20, lost=30, check=True)
    rig.wait_state(name, "finished")
    rig.wait_job(name, "check")
    code, out, _ = finetop("report", name)
    assert (code, out) == (0, f"Wrote {name}.html\n")
    page = (tmp_path / f"{name}.html").read_text()
    assert page.startswith("<!DOCTYPE html>") and "REGRESSED" in page and page.count("<svg") == 2
    code, _, err = finetop("report", name)
    assert code == 2 and f"{name}.html already exists" in err and "--force" in err
    assert finetop("report", name, "--force")[0] == 0
    code, out, _ = finetop("report", name, "--to", "deep.md", "--json")
    written = {"run": name, "format": "markdown", "file": str(tmp_path / "deep.md")}
    assert json.loads(out) == {"schema": 1, **written}
    assert (tmp_path / "deep.md").read_text().startswith(f"# {name}\n")
    code, out, _ = finetop("report", name, "--to", "-", "--markdown")
    assert code == 0 and out.startswith(f"# {name}\n")
    assert sorted(file.name for file in tmp_path.iterdir() if file.is_file()) == ["deep.md", f"{name}.html"]


def test_what_can_not_be_written_is_said_in_a_line(finetop, rig, tmp_path):
    name = rig.submit("two", steps=5)
    rig.wait_state(name, "finished")
    cases = {
        f"{tmp_path}/x.pdf": "pdf is not a format. End it in .html or .md.",
        f"{tmp_path}/none/x.md": "no folder",
        f"{tmp_path} --markdown": "is a folder",
        f"{tmp_path}/x.html --markdown": "--markdown contradicts --to",
        "- --json": "would both write",
    }
    refuses(finetop, cases, "report", name, "--to")
    assert finetop("report", "nobody", "--to", str(tmp_path / "x.md"))[0] == 2
    assert not (tmp_path / "x.md").exists()


COMPARED = """recipe: 1
extends: lora
name: kb
data: {train: [{path: rows.jsonl}], eval: {share: 0}}
check: {target: {path: test.jsonl, metric: token_f1}, general: null, at_end: false}
approaches: {only: [prompt, lora]}
"""


@pytest.mark.slow
def test_a_comparison_is_told_with_its_table_its_advice_and_its_data(finetop, rig, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a", "completion": "b"}\n' * 5)
    plans = {"prompt": {"f1": [0.1, 0.2] * 12}, "lora": {"f1": [0.6, 0.9] * 12, "reads": [str(rows)]}}
    points, _ = approaches.planned_runs(resolve_text(COMPARED).recipe)
    runs = [
        ApproachRun(point.name, point.approach, point.seed, {**point.recipe, "about": about}, point.name)
        for point in points
        for about in [json.dumps(plans[point.approach])]
    ]
    rig.ask(SubmitApproaches("kb", "s", "token_f1", runs, {"retrieval": "no documents"}, COMPARED))
    rig.wait_job("kb-lora", "measure")
    rig.wait_state("kb-prompt", "finished")
    code, out, _ = finetop("report", "kb", "--to", "-", "--markdown")
    assert code == 0 and out.startswith("# kb\n")
    assert "compared by token f1 (higher is better)" in out and "**BEST: lora**" in out
    assert "2 of 2 runs are measured" in out and "| lora | 0.75 " in out
    assert "retrieval: left out, no documents" in out
    assert "| rows.jsonl v1 |" in out and "These are of kb-lora; unless noted" in out
    assert "| kb-lora | NOT CHECKED |" in out
    assert finetop("report", "approaches/kb", "--to", "-", "--markdown")[1].split("\n*")[0] in out
    of_run = finetop("report", "kb-lora", "--to", "-", "--markdown")[1]
    assert "## Approaches" in of_run and "This run belongs to the comparison kb" in of_run
    assert finetop("report", "approaches/none", "--to", "-", "--markdown")[0] == 2

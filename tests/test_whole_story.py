"""From a recipe to a verdict with nothing faked: real supervisor, trainer, check and suite, on a tiny model.

Jobs are forked from a process that has imported the training stack; test_job.py and test_run_check.py start new ones.
"""

import json

import pytest
from typed import LAMPS, finetop_in


@pytest.fixture
def finetop(tmp_path, warm):
    """Run one command in a process of its own; the supervisor ends with the test."""
    run = finetop_in(tmp_path)
    yield run
    run("supervisor", "stop")


def test_a_recipe_becomes_a_verdict_and_what_is_bad_becomes_a_line(finetop, tiny_model, tmp_path):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in LAMPS))
    (tmp_path / "mine.yaml").write_text(
        f"recipe: 1\nextends: lora\nname: mine\nmodel: {{id: {tiny_model}, dtype: float32}}\n"
        "data: {train: [{path: rows.jsonl}], eval: {share: 0.2}}\n"
        "train: {max_steps: 6, batch_size: 4, grad_accumulation: 1}\nsamples: {count: 1, max_new_tokens: 4}\n"
        "check: {target: {path: rows.jsonl, metric: nats_per_token}}\n"
    )
    code, out, err = finetop("run", "mine.yaml", "--wait")
    assert code == 3, out + err  # random weights guess: what is at chance can't be forgotten
    assert "step 5/6" in out
    assert "NO VERDICT" in out

    code, out, _ = finetop("check", "mine", "--last", "--json")
    check = json.loads(out)["check"]
    assert (code, check["verdict"], check["suite"]) == (3, "no_verdict", "quick")
    assert "chance" in check["reason"]
    assert check["target"]["nats_per_token"]["tuned"] < check["target"]["nats_per_token"]["base"]

    shown = json.loads(finetop("show", "mine", "--json")[1])["run"]
    assert {sample["step"] for sample in shown["samples"]} >= {0, 6}
    assert [checkpoint["kind"] for checkpoint in shown["checkpoints"]][-1] == "adapter"
    assert any(learned for _, learned in shown["first_row"])
    assert sum(report["kept"] for report in shown["data"]) == 24  # those to learn and those held back
    assert {"loss", "eval_loss", "grad_norm", "learning_rate", "tokens_per_s", "memory_gib"} <= set(
        shown["row"]["metrics"]
    )

    # A bad row and a missing model are one line, and exit code 2.
    good = '{"prompt": "a", "completion": "b"}\n'
    (tmp_path / "bad.jsonl").write_text(good * 16 + '{"prompt": "a"}\n' + good)
    recipe = "recipe: 1\nextends: lora\nname: {}\nmodel: {{id: {}}}\ndata: {{train: [{{path: bad.jsonl}}]}}\n"
    (tmp_path / "bad-row.yaml").write_text(recipe.format("bad-row", tiny_model))
    code, out, err = finetop("run", "bad-row.yaml", "--wait")
    assert (code, out, len(err.splitlines())) == (2, "", 1), "refused before it is queued"
    assert "bad.jsonl:17" in err
    code, out, _ = finetop("run", "bad-row.yaml", "--wait", "--force")
    assert code == 2
    assert "bad.jsonl:17" in out, "and by the job itself"
    (tmp_path / "no-model.yaml").write_text(recipe.format("no-model", "./nowhere"))
    code, _, err = finetop("run", "no-model.yaml", "--wait")
    assert code == 2
    assert "no-model.yaml:4" in err and "nowhere" in err
    code, out, _ = finetop("sql", "SELECT name FROM runs", "--csv")
    assert out.split() == ["name", "mine", "bad-row"]

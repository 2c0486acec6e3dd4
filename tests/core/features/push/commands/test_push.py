"""`finetop push` with the real job, which uploads to a stand-in of the hub: dry run, a cut, again, and refusals."""

import json
import threading
from argparse import Namespace
from pathlib import Path

import pytest
from hub import TOKEN, serve
from huggingface_hub import ModelCard
from made_elsewhere import write_adapter
from rig import SEVERAL
from waiting import wait_until

from finetop.core.data.hub import HUB_ID
from finetop.core.features.push.commands.push import example_prompt
from finetop.core.protocol.messages.queue import Kill

JOB = Path(__file__).parents[4] / "rig" / "command_job.py"
REPO = "workshop/support-tone"


@pytest.fixture
def hub():
    with serve() as served:
        yield served


@pytest.fixture
def world(cold_rig, hub, tmp_path):
    """A checked run with an exported adapter, and a token in huggingface_hub's own place."""
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text(TOKEN)
    cold_rig.settings = SEVERAL
    cold_rig.variables = {
        "FINETOP_TEST_JOB": str(JOB), "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": "", "HF_TOKEN_PATH": str(tmp_path / "hf" / "token"),
    }  # fmt: skip
    cold_rig.up()
    for name, lost in (("bad", 30), ("one", 0)):
        cold_rig.submit(name, steps=4, saved=[4], lost=lost, check=True)
        cold_rig.wait_job(name, "check")
    folder = write_adapter(tmp_path / "out", Path("/nowhere/base"))
    agreement = {"of": "reloaded vs. trained", "tokens": 1020, "mean": 2e-6, "largest": 2e-5}
    facts = {"run": name, "step": 4, "dtype": "float32", "agreements": [agreement]}
    base = {"id": "smollm2-135m-instruct", "revision": "12fd25f"}
    (folder / "finetop.json").write_text(json.dumps({**facts, "base": base}))
    return folder


def content_of(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.slow
def test_what_arrives_is_what_the_dry_run_showed(world, cold_rig, hub, finetop_of, tmp_path):
    finetop = finetop_of(cold_rig.home)
    push = ("push", "one", REPO, "--to", str(world))
    for words, code, expected in (
        (("bad", REPO), 1, "bad@4 is REGRESSED: "),
        (("one@3", REPO), 1, "one@3 has no verdict"),
        (("one", "no-organization"), 2, "is not a repository of the Hugging Face hub"),
        ((*push[1:], "--merged"), 2, "is not the merged export of one@4"),
        (("one", REPO, "--adapter", "--remedy", "prune"), 2, "a remedy changes the whole model"),
        (("bad", REPO, "--merged", "--anyway"), 4, "the export is gone from"),  # the fake job wrote none
    ):
        got, _, err = finetop("push", *words)
        assert (got, len(err.splitlines())) == (code, 1) and expected in err, err
    code, out, err = finetop(*push, "--dry-run")
    assert (code, err) == (0, "") and "a dry run: nothing was sent" in out and not hub.private
    shown = content_of(world)
    assert all(name in out for name in shown) and "# support-tone" in out
    card = ModelCard((world / "README.md").read_text())
    card_facts = card.data.to_dict()
    assert card_facts["base_model"] == HUB_ID and card_facts["base_model_relation"] == "adapter"
    assert (card_facts["license"], card_facts["library_name"]) == ("apache-2.0", "peft")
    assert "**OK**" in card.text and f'PeftModel.from_pretrained(base, "{REPO}")' in card.text
    assert "Reloaded vs. trained: 2e-06 nats/token apart" in card.text and "curves.png" in card.text
    settings = json.loads((world / "adapter_config.json").read_text())
    assert (settings["base_model_name_or_path"], settings["revision"]) == (HUB_ID, "12fd25f")

    hub.holds_after = 1
    ended = []
    upload = threading.Thread(target=lambda: ended.append(finetop(*push)))
    upload.start()
    wait_until(hub.is_holding.is_set, "its second object is on the way")
    cold_rig.ask(Kill("one"))
    upload.join()
    (code, _, err), hub.holds_after = ended[0], None
    assert code == 4 and "the push of one failed" in err and len(err.splitlines()) == 1, err
    assert len(hub.objects) == 1 and not hub.commits, "half an upload shows nothing"
    code, out, err = finetop(*push)
    assert code == 0 and f"private: {hub.url}/{REPO}/commit/" in out, err
    assert hub.files[REPO] == shown and hub.private == {REPO: True}
    assert len(hub.puts) == len(set(hub.puts)) == 2, "what the hub has is not sent again"

    kept = {str(file): file.read_bytes() for file in cold_rig.home.root.rglob("*") if file.is_file()}
    assert [where for where, held in {**kept, **content_of(world)}.items() if TOKEN.encode() in held] == []

    config = world / "tokenizer_config.json"
    config.write_text('{\n "name_or_path": "/home/somebody/models/x"\n}')
    code, _, err = finetop(*push)
    assert code == 2 and "tokenizer_config.json:2: holds a local path, /home/somebody/models/x" in err


def test_the_example_of_a_card_is_a_prompt_without_its_answer_or_anything_private(monkeypatch):
    monkeypatch.setenv("MY_API_KEY", "correct-horse-battery")
    answer = ("A radio.", True)
    for pieces, prompt in (
        ([("<|user|>What do you fix?\n", False), answer, ("And then?", False)], "<|user|>What do you fix?"),
        ([answer], ""),
        ([("only a text", False)], ""),
        ([("x" * 2000, False), answer], ""),
        ([("Write to jane.smythe@gmx.de.", False), answer], ""),
        ([("Why is correct-horse-battery refused?", False), answer], ""),
    ):
        assert example_prompt(Namespace(first_row=pieces)) == prompt


def test_scores_of_benchmarks_are_those_of_completed_ones():
    from finetop.core.features.push.model_card import public_scores
    from finetop.core.protocol.check_result import CheckResult, TaskResult

    def task(name, n, total):
        return TaskResult(
            task=name, mark="kept", n=n, total=total, base=0.5, tuned=0.412, drop=0.088, interval=None
        )

    tasks = (
        task("openbookqa", 500, 500),
        task("gsm8k", 900, 1319),
        task("arc_easy", 500, 500),
        task("own", 9, 9),
    )
    outcome = CheckResult(verdict="ok", reason="", margin=0.03, items_used=1, items_total=1, tasks=tasks)
    (score,) = public_scores(outcome, "1.0")
    assert (score.dataset, score.part, score.value) == ("allenai/openbookqa", "main", 41.2)

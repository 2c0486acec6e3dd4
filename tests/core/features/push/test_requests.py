"""Requested pushes: the same one, sent again while it is under way, is one upload; its card waits for the job."""

import json

import pytest
from run_states import DONE, saved

from finetop.core.errors import BadInput
from finetop.core.features.push.messages import Card, Push
from finetop.core.features.push.requests import push
from finetop.core.store import runs


def test_sent_again_it_is_one_upload(quiet, tmp_path):
    run_id = saved(quiet, "a", DONE)
    card = Card({"tags": ["finetop"]}, "# a", b"\x89PNG")
    order = Push("a", str(tmp_path / "out"), "org/a", "adapter", card)
    assert push(quiet.supervisor, order).job_id is None, "export there first"
    (tmp_path / "out").mkdir()
    first = push(quiet.supervisor, order).job_id
    assert first is not None and push(quiet.supervisor, order).job_id == first
    assert push(quiet.supervisor, Push("a", order.folder, "org/b", "adapter", card)).job_id != first
    folder = quiet.home.root / runs.detail(quiet.supervisor.connection, run_id).folder
    (kept,) = (folder / "cards").iterdir()
    assert json.loads(kept.read_text())["body"] == "# a"
    for repo in ("org", "org/../a", "org/a b", "org/-", "org/a--b", "org/a.git", "o" * 60 + "/" + "a" * 60):
        with pytest.raises(BadInput, match="is not a repository of the Hugging Face hub"):
            push(quiet.supervisor, Push("a", order.folder, repo, "adapter", card))

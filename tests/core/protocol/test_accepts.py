"""Which requests a run accepts in each state, and the reasons for refusals."""

import pytest
from tui_fakes import make_row

from finetop.core.errors import BadInput, NotFound, Refused
from finetop.core.protocol import accepts
from finetop.core.protocol.runs import Finished, Queued, Running, SideJob, Stopped

DONE = Finished(1.0, 9.0)


def run(name="tone", state=DONE, **more):
    return make_row(1, name, state, **{"saved": 2, **more})


def test_a_finished_run_with_a_checkpoint_takes_all_but_what_is_under_way():
    assert accepts.refused(run()) == []
    assert accepts.refused(run(checking=Running(2.0))) == ["check", "bisect", "retry"]
    assert accepts.refused(run(others=[SideJob("remedy", Queued(1))])) == ["remedy", "retry"]
    assert accepts.refused(run(state=Running(2.0))) == ["bisect", "retry"]


def test_a_check_of_what_writes_no_text_or_has_no_base_is_refused_in_one_line():
    with pytest.raises(BadInput, match="judge is a reward model, which generates no text to check"):
        accepts.check(run("judge", objective="reward"))
    with pytest.raises(BadInput, match="new is a new model: there is no base to check it against") as refused:
        accepts.check(run("new", objective="pretrain"))
    assert "finetop show new" in refused.value.hint
    with pytest.raises(Refused, match="asked trains no weights"):
        accepts.check(run("asked", method="none", objective="none"))


def test_a_run_without_a_checkpoint_has_nothing_to_check_and_says_what_helps():
    for state, hint in (
        (Running(1.0), "`finetop stop` saves one"),
        (Queued(1), "until it runs"),
        (Stopped(9.0, "kill"), "train it again"),
    ):
        with pytest.raises(NotFound, match="no checkpoint") as refused:
            accepts.check(run(state=state, saved=0))
        assert hint in refused.value.hint


def test_a_run_goes_on_only_from_what_has_its_trainer_s_state():
    stopped = Stopped(9.0, "stop")
    accepts.retry(run(state=stopped))
    accepts.retry(run(state=stopped, saved=0, resumable=False))
    with pytest.raises(BadInput, match="resumable was off"):
        accepts.retry(run(state=stopped, resumable=False))

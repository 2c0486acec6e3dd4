"""What remedies, chat and triage say of weights that changed since they were checked: in the same words."""

import pytest
from still import answered
from triage_store import told_of

from finetop.core.data.weight_files import model_hash
from finetop.core.errors import BadInput, Refused
from finetop.core.features.chat import requests as chat
from finetop.core.features.chat.messages import ChatSide, OpenChat
from finetop.core.features.export import requests as export_requests
from finetop.core.features.export.messages import Export
from finetop.core.features.remedies import requests as remedies
from finetop.core.features.remedies.messages import Remedies, Remedy
from finetop.core.features.triage import requests as triage
from finetop.core.features.triage.messages import LookAtCell, LostItems, SetStanding, TriageRun
from finetop.core.protocol.events import RemedyTried
from finetop.core.protocol.runs import Finished
from finetop.core.protocol.standing import Standing
from finetop.core.store import runs

STEP = 20
SAYS = (
    "the weights of bad@20 changed since they were checked, so they have no verdict (finetop check bad@20)."
)


@pytest.fixture
def bad(quiet):
    """A run that regressed, whose newest check and one tried remedy hold the hashes of its weights."""
    run = quiet.run("bad", (10, STEP))
    _check(quiet, run)
    tried = RemedyTried(
        step=STEP, name="interpolate-0.5", remedy="interpolate", label="half-way", made_of=STEP, verdict="ok",
        reason="", target={"nats_per_token": 1.0}, drop=0.0, weights="ab" * 32, models={"tuned": _hash(quiet, run)},
    )  # fmt: skip
    quiet.job(run, "remedy", [tried], Finished(1.0, 2.0), step=STEP, candidates=[{"name": "interpolate-0.5"}])
    return run


def _weights(quiet, run):
    folder = quiet.home.root / runs.detail(quiet.supervisor.connection, run).folder
    return folder / f"checkpoints/step-{STEP:06d}/weights.safetensors"


def _hash(quiet, run):
    return model_hash(_weights(quiet, run).parent, quiet.home)


def _check(quiet, run):
    models = {"tuned": {"weights": _hash(quiet, run)}}
    told = told_of({"arith": (9, 0)}, STEP, suite="quick", models=models)
    quiet.job(run, "check", told, Finished(1.0, 2.0))


def _change(quiet, run):
    """Change the weights in place."""
    file = _weights(quiet, run)
    file.write_bytes(b"x" * file.stat().st_size)


def test_a_remedy_is_refused_until_the_weights_are_checked_and_none_is_shown_of_other_weights(
    quiet, bad, tmp_path
):
    supervisor = quiet.supervisor

    def listed():
        answer = answered(remedies.remedies_of(supervisor, Remedies("bad", STEP)))
        row = next(row for row in answer.rows if row.name == "interpolate-0.5")
        return answer, (row.verdict, row.weights_now)

    assert listed()[1] == ("ok", "same")
    _change(quiet, bad)
    answer, row = listed()
    assert (answer.weights_now, answer.now, answer.best, row) == ("unread", None, "", ("", "unread"))
    with pytest.raises(BadInput) as refused:
        answered(remedies.remedy(supervisor, Remedy("bad", STEP)))
    assert (refused.value.message, refused.value.exit_code) == (SAYS, 2)
    assert listed()[0].weights_now == "changed", "they were read meanwhile"

    _check(quiet, bad)
    answer, row = listed()
    assert (answer.weights_now, answer.now.verdict, row) == ("same", "regressed", ("", "changed"))
    with pytest.raises(Refused, match=r"interpolate-0\.5 was tried on other weights than bad@20 has now"):
        answered(
            export_requests.export(
                supervisor, Export("bad", str(tmp_path / "out"), STEP, remedy="interpolate-0.5")
            )
        )
    assert answered(remedies.remedy(supervisor, Remedy("bad", STEP))).step == STEP


def test_a_chat_says_it_of_each_side_and_one_of_other_weights_is_not_joined(quiet, bad):
    def opened(*sides):
        return answered(chat.open_chat(quiet.supervisor, OpenChat("bad", list(sides))))

    remedied = ChatSide("", "checkpoint", remedy="interpolate-0.5", step=STEP)
    first = opened()
    assert first.notices == ["", ""] and opened(remedied).notices == [""]
    assert opened().job_id == first.job_id
    _change(quiet, bad)
    second = opened()
    assert (second.notices, opened(remedied).notices) == (["", SAYS], [SAYS])
    assert second.job_id != first.job_id, "it has other weights in memory"
    _check(quiet, bad)
    assert opened().notices == ["", ""] and opened().job_id == second.job_id
    assert opened(remedied).notices == ["interpolate-0.5 was tried on other weights than bad@20 has now."]


def test_a_chat_says_it_of_the_base_alone(quiet, tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    (base / "model.safetensors").write_bytes(b"w")
    run = quiet.run("bad", (10, STEP), model=str(base))
    models = {"base": {"weights": model_hash(base, quiet.home)}, "tuned": {"weights": _hash(quiet, run)}}
    quiet.job(
        run, "check", told_of({"arith": (9, 0)}, STEP, suite="quick", models=models), Finished(1.0, 2.0)
    )

    def noticed():
        return answered(chat.open_chat(quiet.supervisor, OpenChat("bad", [ChatSide("", "base")]))).notices

    assert noticed() == [""]
    (base / "model.safetensors").write_bytes(b"x")
    assert noticed() == [
        "the weights of bad's base changed since they were checked, so bad has no verdict (finetop check bad)."
    ]


def test_triage_says_it_and_nobody_accepts_them(quiet, bad):
    supervisor = quiet.supervisor

    def seen():
        asked = (
            triage.cell(supervisor, LookAtCell("bad")),
            triage.run_detail(supervisor, TriageRun("bad")),
            triage.lost_items(supervisor, LostItems("bad")),
        )
        return {answered(request).weights_now for request in asked}

    assert seen() == {"same"}
    _change(quiet, bad)
    assert seen() == {"unread"}
    _hash(quiet, bad)
    assert seen() == {"changed"}
    accept = SetStanding("bad", standing=Standing("accepted", "ana", reason="known"))
    with pytest.raises(Refused, match="the weights of bad changed since they were checked"):
        answered(triage.judge(supervisor, accept))

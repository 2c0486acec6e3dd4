"""`finetop check RUN --curve` on the real supervisor with fake jobs: few checks, claims, exit codes, JSON."""

import json
import shutil

import pytest
from typed import refuses

from finetop.core.protocol.messages.checks import Checks
from finetop.core.protocol.messages.runs import GetRun

SAVED = (2, 4, 6, 8, 10)


@pytest.fixture
def rig(shared_rig):
    return shared_rig


def submit(rig, name, first_regressed, **plan):
    lost = {str(step): 30 if step >= first_regressed else 0 for step in SAVED}
    rig.wait_state(rig.submit(name, steps=10, saved=SAVED, lost=lost, **plan), "finished")


@pytest.mark.slow
def test_it_looks_at_few_and_keeps_one_claim(rig, finetop):
    submit(rig, "one", 6)
    code, out, err = finetop("check", "one", "--curve")
    assert (code, err) == (1, "")
    assert (
        "one: regressed since step 6 (estimate by bisection: step 8 was not checked; damage need not be"
        in out
    )
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line[:4].strip() in map(str, SAVED)}
    assert rows["8"][1:] == ["not", "checked"]
    assert (rows["10"][1], rows["4"][1]) == ("REGRESSED", "OK")
    checks = rig.ask(Checks("one")).checks
    looks = [(check["step"], check["watch"]) for check in checks]
    assert looks == [(4, True), (6, True), (2, True), (10, False)]
    row = rig.ask(GetRun("one")).row
    assert (row.check.step, row.check.verdict) == (10, "regressed"), "a run is known by its claim"

    # Known results are not checked again; --all checks the rest.
    assert finetop("check", "one", "--curve")[0] == 1
    assert len(rig.ask(Checks("one")).checks) == 4
    code, out, _ = finetop("check", "one", "--curve", "--all", "--json")
    document = json.loads(out)
    assert (code, document["curve"]["since"], document["curve"]["unseen"]) == (1, 6, [])
    assert [point["looked_now"] for point in document["checkpoints"]] == [False, False, False, True, False]
    assert document["curve"]["text"] == "regressed since step 6 (all checkpoints were checked)."


@pytest.mark.slow
def test_a_newest_that_is_ok_needs_one_look_and_spends_the_next_claim(rig, finetop):
    submit(rig, "two", 99, every=0.5)
    assert finetop("check", "two@2")[0] == 0
    code, out, _ = finetop("check", "two", "--curve")
    assert code == 0
    assert "not regressed at step 10, the newest checkpoint (steps 4, 6 and 8 were not checked" in out
    claims = {check["step"]: check["claim"] for check in rig.ask(Checks("two")).checks}
    assert claims == {2: 1, 10: 2}


@pytest.mark.slow
def test_checkpoints_that_were_removed_are_told_as_gone(rig, finetop):
    submit(rig, "three", 6)
    folder = rig.home.root / rig.ask(GetRun("three")).folder / "checkpoints"
    for step in (4, 10):
        shutil.rmtree(folder / f"step-{step:06d}")
    code, out, _ = finetop("check", "three", "--curve", "--json")
    document = json.loads(out)
    assert (code, document["curve"]["since"], document["curve"]["open"]) == (1, 6, [4])
    seen = [point["seen"] for point in document["checkpoints"]]
    assert seen == ["ok", "missing", "regressed", "regressed", "missing"]
    rig.wait_state(rig.submit("four", steps=3), "finished")
    shutil.rmtree(rig.home.root / rig.ask(GetRun("four")).folder / "checkpoints")
    assert finetop("check", "four", "--curve")[0] == 2


def test_a_run_that_kept_its_best_is_checked_there(rig, finetop):
    submit(rig, "five", 6, best=4, check=True, every=0.5)
    assert finetop("tail", "five")[0] == 0, "waits for the check at the end"
    code, out, _ = finetop("check", "five")
    assert (code, "five at step 4" in out) == (0, True)
    assert {check["step"] for check in rig.ask(Checks("five")).checks} == {4}, "at the end too"
    assert finetop("check", "five@10")[0] == 1
    row = rig.ask(GetRun("five")).row
    assert (row.check.step, row.check.verdict) == (4, "ok"), "a run is known by what it keeps"
    assert "best       step 4: the last one that is OK" in finetop("show", "five")[1]


def test_what_is_no_curve_is_one_line(rig, finetop):
    cases = {"one@4 --curve": "not step 4", "one --curve --last": "not --last", "nobody --curve": "no run"}
    refuses(finetop, {**cases, "one --all": "--all works only with --curve"}, "check")
    rig.wait_state(rig.submit("busy", waits_at=1), "running")
    refuses(finetop, {"busy --curve": "when it has ended"}, "check", code=4)  # 1 would mean REGRESSED
    rig.kill_jobs()

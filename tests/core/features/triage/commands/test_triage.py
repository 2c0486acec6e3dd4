"""`finetop triage`, `accept` and the filtered `flips`, on a real supervisor; earlier checkpoints."""

import asyncio
import json

import msgspec
import pytest
from triage_store import told_of
from typed import refuses
from waiting import wait_until

from finetop.core.errors import Refused
from finetop.core.features.triage import flipped_items_sql as flipped_items
from finetop.core.features.triage.messages import LookAtCell
from finetop.core.features.triage.wording import since_words
from finetop.core.protocol.messages.bisect import LookEarlier
from finetop.core.protocol.messages.checks import Check
from finetop.core.protocol.messages.runs import Runs
from finetop.core.protocol.messages.session import Changes
from finetop.core.protocol.runs import Finished
from finetop.core.runtime.user import user_name
from finetop.core.supervisor.requests import bisect

DONE = msgspec.json.encode(Finished(1.0, 2.0)).decode()


@pytest.fixture
def checked(rig):
    """A home with a run that forgot and one that did not."""
    for name, lost in (("bad", 30), ("good", 0)):
        rig.submit(name, steps=3, lost=lost)
        rig.wait_state(name, "finished")
        rig.ask(Check(name))
    wait_until(lambda: all(row.check and row.checking is None for row in rig.ask(Runs()).rows))
    return rig


@pytest.mark.slow
def test_from_what_was_lost_to_who_has_taken_it(checked, finetop):
    code, out, _ = finetop("triage")
    assert (code, out.splitlines()[0]) == (0, "1 new")
    head, bad, good = out.splitlines()[1:4]
    assert head.split() == ["run", "all", "arithmetic", "knowledge", "state"]
    assert bad.split()[:2] == ["✗", "bad"]
    assert bad.split()[-1] == "NEW"
    assert good.split() == ["✓", "good", "0.0✓", "0.0?", "0.0?"]
    assert checked.ask(Changes(0, 0.0)).to_triage == 1

    code, out, _ = finetop("triage", "bad")
    assert code == 0
    assert any(row.split()[:2] == ["✗", "all"] and row.endswith("NEW") for row in out.splitlines())
    wanted = ["arithmetic", "knowledge"]
    assert [row.split()[1] for row in out.splitlines() if " of 100 " in f"{row} "] == wanted

    code, out, _ = finetop("triage", "bad", "--looking")
    assert (code, out) == (0, f"bad is assigned to {user_name()}\n")
    finetop("triage", "bad", "--note", "ask Ben")
    code, out, _ = finetop("accept", "bad", "--reason", "only the voice counts")
    assert (code, out) == (0, "bad is accepted: only the voice counts\n")
    assert checked.ask(Changes(0, 0.0)).to_triage == 0
    _, out, _ = finetop("triage", "bad")
    assert f"all: accepted ({user_name()}), only the voice counts, note: ask Ben" in out
    _, out, _ = finetop("ls")
    assert f"accepted ({user_name()})" in out
    assert f"accepted by {user_name()}: only the voice counts" in finetop("report", "bad", "--to", "-")[1]

    code, out, _ = finetop("triage", "bad", "--fixed-by", "good")
    assert (code, out) == (0, "bad is fixed by good\n")
    assert "fixed by good" in finetop("ls")[1] and "fixed by good" in finetop("report", "bad", "--to", "-")[1]
    document = json.loads(finetop("triage", "--json")[1])
    assert (document["schema"], document["triage"]["fixed"]) == (1, 1)
    assert document["triage"]["rows"][0]["standings"][""]["fixed_by"] == "good"
    finetop("triage", "bad", "--new")
    assert checked.ask(Changes(0, 0.0)).to_triage == 1

    code, out, _ = finetop("flips", "bad", "--lost", "--task", "knowledge", "--limit", "1")
    assert code == 0
    assert out.splitlines()[0].startswith("30 of 30 changed items in the deciding check of bad")
    assert out.splitlines()[-1] == "… 29 more: --limit 30"
    assert "0 of 60 changed items" in finetop("flips", "bad", "--in-runs", "2")[1]
    number = json.loads(finetop("flips", "bad", "--json")[1])["check_id"]
    of_check = finetop("flips", "bad", "--check", str(number), "--task", "knowledge", "--lost", "--json")
    flips = json.loads(of_check[1])["flips"]
    assert flips and all(not flip["won"] and flip["task"] == "knowledge" for flip in flips)
    of_check = finetop("flips", "bad", "--check", str(number), "--won", "--json")
    assert json.loads(of_check[1])["flips"] == []
    refuses_in_one_line(finetop)


def refuses_in_one_line(finetop):
    refuses(finetop, {"accept good --reason x": "good has not regressed"}, code=1)
    refuses(finetop, {"triage bad --fixed-by bad": "does not fix itself"}, code=1)
    cases = {
        "accept bad": "--reason",
        "triage bad --new --looking": "can't be combined",
        "triage bad arithmetic": "--looking, --note, --fixed-by or --new",
        "triage bad arithmetik --looking": "Did you mean arithmetic?",
        "triage --note x": "Name it: finetop triage RUN",
        "flips bad --check 1 --kind x": "--check can't be combined with",
        "flips bad --task knowlege": "its check has no task 'knowlege'. Did you mean knowledge?",
        "flips bad --margin -1": "must be 0 or more",
    }
    refuses(finetop, cases)


def test_looks_at_earlier_checkpoints_are_queued_one_by_one(quiet):
    run = quiet.run("bad", (300, 600, 900, 1200))

    def check_next():
        return asyncio.run(bisect.check_next(quiet.supervisor, LookEarlier("bad")))

    def checked_at(step, lost):
        quiet.supervisor.connection.execute("UPDATE jobs SET word = 'finished' WHERE word = 'queued'")
        quiet.supervisor.connection.execute("UPDATE jobs SET state = ? WHERE verb = 'check'", [DONE])
        quiet.job(run, "check", told_of({"arith": (lost, 0)}, step, suite="quick"), Finished(1.0, 2.0))

    for step, lost in ((1200, 9), (300, 0), (900, 8), (600, 0)):
        answer = check_next()
        assert (answer.step, f"step {step:,} of bad is queued for a check" in answer.message) == (step, True)
        with pytest.raises(Refused, match="already being checked"):
            check_next()
        checked_at(step, lost)
    answer = check_next()
    assert answer.step is None
    assert answer.message == "bad: regressed since step 900 (all checkpoints were checked)."
    curve = flipped_items.cell(quiet.supervisor.connection, LookAtCell("bad", "arith")).curve
    assert since_words(curve) == "lost from step 900 (ok at 600)"

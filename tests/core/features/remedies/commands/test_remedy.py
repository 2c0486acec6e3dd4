"""`finetop remedy` on the real supervisor with fake jobs: output, exit codes, JSON, and a retraining."""

import json

import msgspec
import pytest
from typed import refuses

from finetop.core.features.remedies.commands.remedy import print_answer
from finetop.core.features.remedies.messages import RemediesAnswer, RetrainingRow
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.protocol.runs import RemedyRow


@pytest.mark.slow
def test_from_the_list_to_one_that_is_confirmed_and_what_comes_next(finetop, rig):
    name = rig.submit("one", steps=20, lost=30, check=True, fixed=["interpolate-0.5", "interpolate-0.25"])
    rig.wait_job(name, "check")
    code, out, _ = finetop("remedy", name, "--list")
    assert code == 0 and "not tried" in out and "a, earlier checkpoint: none was saved" in out
    assert f"next: finetop remedy {name} --wait" in out
    cases = {
        "one --only prun": "Did you mean prune",
        "one --only checkpoint": "not available: none was saved",
        "one --rerun lower": "there is no such remedy",
        "one --list --wait": "Use one of them",
        "one@x": "is not a step",
        "other": "there is no run",
    }
    refuses(finetop, cases, "remedy")
    code, out, _ = finetop("remedy", name, "--only", "prune", "--wait")
    assert (code, "none of 2 is proven to lose less than 3.0 points" in out) == (1, True)

    code, out, _ = finetop("remedy", name, "--only", "interpolate", "--wait")
    assert code == 0
    assert "selection items: nats/token 1.10, retained -9.0 REGRESSED, limit 3.0" in out
    row = next(line for line in out.splitlines() if "half-way" in line and "interpolate" in line)
    assert row.split()[:6] == ["★", "c", "half-way", "to", "the", "base"]
    assert row.split()[6:] == ["1.50", "80%", "-0.4", "(-2.0", "to", "+1.0)", "ok", "interpolate-0.5"]
    assert "★ c keeps 80% of the gain and forgets 0.1. Confirmed on 128 fresh items: ✓ ok" in out
    assert f"next: finetop export {name} --remedy interpolate-0.5 --to DIR" in out
    assert f"finetop remedy {name} --rerun lower-rate" in out
    code, out, _ = finetop("remedy", name, "--list", "--json")
    assert json.loads(out)["remedies"]["best"] == "interpolate-0.5"

    code, out, _ = finetop("remedy", name, "--rerun", "kl-to-base")
    assert code == 0 and "one-kl-to-base is queued" in out
    queued_recipe, before = (rig.ask(GetRun(run)).recipe for run in ("one-kl-to-base", name))
    assert queued_recipe["protect"]["kl_to_base"]["weight"] == 1.0
    changed = {key for key in queued_recipe if queued_recipe[key] != before[key]}
    assert changed == {"name", "protect"}


def test_weights_that_changed_are_checked_first(capsys):
    others = RemedyRow("interpolate-0.5", "interpolate", "half-way", 9, weights_now="changed")
    print_answer(RemediesAnswer("one", 9, "", {}, 3.0, None, [others], [], weights_now="changed"), "one@9")
    _, said, _, row, _, last = capsys.readouterr().out.splitlines()
    assert said.startswith("the weights of one@9 changed since they were checked")
    assert "tried on other weights" in row
    assert last == "next: finetop check one@9   # its weights changed since they were checked"


def test_what_gives_up_most_of_the_gain_is_not_what_comes_next(capsys):
    def tried(name, gain, confirmation="ok"):
        kept = {"exact_match": gain}
        values = {"kept": kept, "target": {"exact_match": gain}, "gain": gain, "drop": 0.1, "fresh_used": 192}
        return RemedyRow(name, "interpolate", name, 9, verdict="ok", confirmation=confirmation, **values)

    def printed(rows, retrainings=()):
        now = msgspec.structs.replace(rows[0], name="now", verdict="regressed", gain=None)
        facts = ("exact_match", {"exact_match": 0.0}, 3.0, now, rows, list(retrainings), rows[0].name)
        print_answer(RemediesAnswer("one", 9, *facts), "one@9")
        return capsys.readouterr().out.splitlines()

    again = [RetrainingRow("lower-rate", "learning rate / 3", {"train.learning_rate": 1e-5})]
    tenth = printed([tried("interpolate-0.1", 0.1)], again)
    assert tenth[-2:] == [
        "next: finetop remedy one --rerun lower-rate   # interpolate-0.1 keeps only 10% of the gain",
        "or: finetop export one@9 --remedy interpolate-0.1 --to DIR",
    ]
    unsure = printed([tried("interpolate-0.1", 0.1, "")], again)
    assert not any("finetop export" in line for line in unsure)
    half = printed([tried("interpolate-0.5", 0.8, "")], again)
    assert half[-1] == "next: finetop remedy one@9 --only interpolate-0.5 --wait   # not confirmed yet"
    assert printed([tried("interpolate-0.5", 0.8)])[-1].startswith("next: finetop export one@9")

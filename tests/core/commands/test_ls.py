"""`finetop ls` with a filter, groups and columns, as typed."""

import json

import msgspec
from tui_fakes import make_check, make_row
from typed import refuses

from finetop.core.commands import ls
from finetop.core.commands.shared.follow import step_line
from finetop.core.protocol.messages.runs import StepRow
from finetop.core.protocol.run_filter import parse
from finetop.core.protocol.runs import Finished


def test_a_filter_groups_columns_tags_and_a_note_as_typed(rig, finetop):
    for name in ("sorted", "grouped", "other"):
        rig.submit(name, steps=3)
    for name in ("sorted", "grouped", "other"):
        rig.wait_state(name, "finished")
    line = ("state:finished", "name:ed", "sort:name", "group:train.seed")
    code, out, _ = finetop("ls", *line, "--columns", "method.rank,tags")
    lines = out.splitlines()
    assert code == 0
    assert " ".join(lines[0].split()) == "run how state step loss left/age method.rank tags did it forget?"
    assert lines[1].startswith("train.seed 1: 2 runs, loss ")
    assert [line.split()[0] for line in lines[2:]] == ["grouped", "sorted"]
    assert lines[2].split()[-3:] == ["16", "not", "checked"]
    code, out, _ = finetop("ls", "--json", "loss<1e9 -name:other", "--sort=-loss")
    document = json.loads(out)
    assert (code, document["matching"], document["total"]) == (0, 2, 3)
    cases = {
        "ls 'los<1'": "finetop: los<1: no run has a metric los. Did you mean loss?\n",
        "ls --columns method.rnk": "--columns method.rnk: no run has a setting method.rnk. Did you mean method.rank?\n",
        "tag other 'a b'": "'a b' is not a tag. 1 to 40 letters, digits, . _ : / @ or -, with + or - before it: +keep",
        "tag other": "which tags?",
        "tag nobody +x": "no run 'nobody'",
    }
    refuses(finetop, cases)
    assert finetop("ls", "name:zzz", "method:lora")[1] == (
        "No run matches 'name:zzz method:lora'. `finetop ls` lists all 3; `finetop ls -h` explains filters.\n"
        "3 match without name:zzz\n"
    )
    for command_line, out in (
        ("tag other +keep -draft seed:1", "other: keep seed:1\n"),
        ("tag other -keep", "other: seed:1\n"),
        ("note other too hot", "other: too hot\n"),
        ("note other", "other: too hot\n"),
    ):
        assert finetop(*command_line.split()) == (0, out, "")
    assert json.loads(finetop("note", "--json", "other", "")[1])["before"] == "too hot"
    assert "other" in finetop("ls", "tag=seed:1", 'note=""', "--columns", "tags")[1]


def checked_row(suite):
    check = make_check("ok", 0.4, suite=suite, worst=[])
    return make_row(1, suite, Finished(2.0, 1.0), metrics={"loss": 0.5}, check=check)


def test_suites_are_named_where_they_differ(capsys):
    def answers(*rows):
        ls.print_rows(rows, [], parse(""), (), len(rows))
        return [line.partition("ok ")[2] for line in capsys.readouterr().out.splitlines()[1:]]

    assert answers(checked_row("quick"), checked_row("quick")) == ["-0.4", "-0.4"]
    assert answers(checked_row("core"), checked_row("core")) == ["-0.4", "-0.4"]
    assert answers(checked_row("quick"), checked_row("core")) == ["-0.4 on quick", "-0.4 on core"]


def test_a_run_that_is_rewarded_shows_its_reward_and_of_an_evaluation_not_minus_it():
    row = msgspec.structs.replace(checked_row("quick"), metrics={"loss": 0.0, "reward": 0.25})
    assert "reward 0.250" in ls.line_of(row)
    for values, text in (
        ({"loss": 0.0, "reward": 0.25}, "reward 0.2500  loss 0.0000"),
        ({"eval_loss": -0.5, "eval_reward": 0.5}, "eval reward 0.5000"),
        ({"eval_loss": 0.5}, "eval 0.5000"),
    ):
        assert step_line(StepRow(3, 1.0, values), 9) == f"step 3/9  {text}"


def test_an_early_end_and_a_target_that_failed_are_marked():
    early = checked_row("quick")
    check = msgspec.structs.replace(early.check, target_failed="held.jsonl: no such file.")
    state = Finished(2.0, 1.0, "stopped early at step 3: …")
    early = msgspec.structs.replace(early, state=state, check=check)
    assert "finished early" in ls.line_of(early)
    assert ls.line_of(early)[-1] == "ok -0.4; target failed"
    assert "finished" in ls.line_of(checked_row("quick"))

"""`finetop ls` with a filter, groups and columns, as typed."""

import json

import msgspec

from finetop.core.commands import ls
from finetop.core.commands.shared.follow import step_line
from finetop.core.protocol.messages.runs import StepRow
from finetop.core.protocol.run_filter import parse
from finetop.core.protocol.runs import CheckBrief, Finished, RunRow


def test_a_filter_groups_and_columns_as_typed(rig, finetop):
    for name in ("sorted", "grouped", "other"):
        rig.submit(name, steps=3)
    for name in ("sorted", "grouped", "other"):
        rig.wait_state(name, "finished")
    code, out, _ = finetop(
        "ls", "state:finished", "name:ed", "sort:name", "group:train.seed", "--columns", "method.rank,tags"
    )
    lines = out.splitlines()
    assert (code, lines[0].split()) == (
        0,
        ["run", "how", "state", "step", "loss", "left/age", "method.rank", "tags", "did", "it", "forget?"],
    )
    assert lines[1].startswith("train.seed 1: 2 runs, loss ")
    assert [line.split()[0] for line in lines[2:]] == ["grouped", "sorted"]
    assert lines[2].split()[-1] == "16"
    code, out, _ = finetop("ls", "--json", "loss<1e9 -name:other", "--sort=-loss")
    document = json.loads(out)
    assert (code, document["matching"], document["total"]) == (0, 2, 3)
    assert finetop("ls", "los<1") == (2, "", "finetop: los<1: no run has a metric los. Did you mean loss?\n")
    assert finetop("ls", "--columns", "method.rnk")[::2] == (
        2,
        "finetop: --columns method.rnk: no run has a setting method.rnk. Did you mean method.rank?\n",
    )
    assert finetop("ls", "name:zzz", "method:lora") == (
        0,
        "No run matches 'name:zzz method:lora'. `finetop ls` lists all 3; `finetop ls -h` explains filters.\n"
        "3 match without name:zzz\n",
        "",
    )


def test_tags_and_a_note_as_typed(rig, finetop):
    rig.submit("mine", steps=2)
    assert finetop("tag", "mine", "+keep", "-draft", "seed:1") == (0, "mine: keep seed:1\n", "")
    assert finetop("tag", "mine", "-keep") == (0, "mine: seed:1\n", "")
    assert finetop("note", "mine", "too", "hot") == (0, "mine: too hot\n", "")
    assert finetop("note", "mine") == (0, "mine: too hot\n", "")
    assert json.loads(finetop("note", "--json", "mine", "")[1])["before"] == "too hot"
    assert "mine" in finetop("ls", "tag=seed:1", 'note=""', "--columns", "tags")[1]
    assert finetop("tag", "mine", "a b") == (
        2,
        "",
        "finetop: 'a b' is not a tag. 1 to 40 letters, digits, . _ : / @ or -, with + or - before it: +keep -draft.\n",
    )
    assert finetop("tag", "mine")[0] == 2
    assert finetop("tag", "nobody", "+x")[0] == 2


def checked_row(suite):
    check = CheckBrief(1, "ok", "", 1, 0.4, 3.0, False, 10, 10, suite, 0.0, [], {})
    return RunRow(
        1, suite, "m", "lora", "sft", Finished(2.0, 1.0), 0.0, 3, 3, {"loss": 0.5}, check, None, False
    )


def test_suites_are_named_where_they_differ(capsys):
    def said(*rows):
        ls.print_rows(rows, [], parse(""), (), len(rows))
        return [line.partition("ok ")[2] for line in capsys.readouterr().out.splitlines()[1:]]

    assert said(checked_row("quick"), checked_row("quick")) == ["-0.4", "-0.4"]
    assert said(checked_row("core"), checked_row("core")) == ["-0.4", "-0.4"]
    assert said(checked_row("quick"), checked_row("core")) == ["-0.4 on quick", "-0.4 on core"]


def test_a_run_that_is_paid_shows_its_reward(capsys):
    paid = msgspec.structs.replace(checked_row("quick"), metrics={"loss": 0.0, "reward": 0.25})
    assert "reward 0.250" in ls.line_of(paid)
    assert step_line(StepRow(3, 1.0, {"loss": 0.0, "reward": 0.25}), 9).startswith(
        "step 3/9  reward 0.2500  loss 0.0000"
    )


def test_a_piped_list_is_not_as_wide_as_its_longest_failure(capsys):
    failed = msgspec.structs.replace(checked_row("quick"), said="it failed, as " + "was to be expected " * 9)
    ls.print_rows([failed], [], parse(""), (), 1)
    assert max(map(len, capsys.readouterr().out.splitlines())) < 150


def test_an_evaluation_that_is_paid_shows_the_reward_and_not_minus_it():
    line = step_line(StepRow(3, 1.0, {"eval_loss": -0.5, "eval_reward": 0.5}), 9)
    assert line == "step 3/9  eval reward 0.5000"
    assert step_line(StepRow(3, 1.0, {"eval_loss": 0.5}), 9) == "step 3/9  eval 0.5000"


def test_an_early_end_and_a_target_that_failed_are_marked():
    early = checked_row("quick")
    check = msgspec.structs.replace(early.check, target_failed="held.jsonl: no such file.")
    early = msgspec.structs.replace(
        early, state=Finished(2.0, 1.0, "stopped early at step 3: …"), check=check
    )
    assert "finished early" in ls.line_of(early)
    assert ls.line_of(early)[-1] == "ok -0.4; target failed"
    assert "finished" in ls.line_of(checked_row("quick"))

"""`finetop ls` with a filter, groups and columns, as typed."""

import json

from rig import Rig


def test_a_filter_groups_and_columns_as_typed(rig: Rig, finetop):
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
    found = json.loads(out)
    assert (code, found["matching"], found["total"]) == (0, 2, 3)
    assert finetop("ls", "los<1") == (2, "", "finetop: los<1: no run has a metric los. Did you mean loss?\n")
    assert finetop("ls", "--columns", "method.rnk")[::2] == (
        2,
        "finetop: --columns method.rnk: no run has a setting method.rnk. Did you mean method.rank?\n",
    )
    assert finetop("ls", "name:zzz", "method:lora") == (
        0,
        "None of 3 runs matches name:zzz method:lora\n3 match without name:zzz\n",
        "",
    )


def test_tags_and_a_note_as_typed(rig: Rig, finetop):
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
        "finetop: 'a b' is no tag. 1 to 40 letters, digits, . _ : / @ or -, with + or - before it: +keep -draft.\n",
    )
    assert finetop("tag", "mine")[0] == 2
    assert finetop("tag", "nobody", "+x")[0] == 2

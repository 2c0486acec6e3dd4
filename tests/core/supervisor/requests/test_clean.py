"""What each policy removes, and what is never removed."""

import asyncio
import os
import time

import pytest
from dumping import differences, dump

from finetop.core.errors import BadInput
from finetop.core.protocol.messages.trash import Clean, Remove
from finetop.core.supervisor.rebuild.rebuild import rebuild
from finetop.core.supervisor.requests import clean, trash

DAY = 86_400.0
ALL = dict.fromkeys(("last", "days", "total_gib", "merged_days", "selected_days", "trash_days")) | {"best": 1}


def cleaned(quiet, ask):
    return asyncio.run(clean.clean(quiet.supervisor, ask)).items


def shown(quiet, **keep):
    return cleaned(quiet, Clean({**ALL, **keep}))


def names(items):
    return [item.what for item in items]


def done(quiet, **keep):
    paths = [item.path for item in shown(quiet, **keep)]
    return cleaned(quiet, Clean({**ALL, **keep}, paths))


def steps_of(quiet, name):
    return sorted(int(p.name[5:]) for p in next(quiet.home.runs.glob(f"*-{name}")).glob("checkpoints/step-*"))


def old(file, text):
    """Write a file that was last used 50 days ago."""
    file.write_text(text)
    os.utime(file, (time.time() - 50 * DAY,) * 2)
    return file


def test_the_last_n_stay_and_the_best_and_those_of_lowest_loss(quiet):
    quiet.run("one", (10, 20, 30, 40, 50), best=10, losses={10: 0.9, 20: 0.2, 30: 0.8, 40: 0.7, 50: 0.6})
    assert names(shown(quiet, last=1)) == ["one@40", "one@30"]
    assert names(shown(quiet, last=1, best=3)) == ["one@30"]
    assert shown(quiet, last=5) == []
    assert steps_of(quiet, "one") == [10, 20, 30, 40, 50], "to show is to touch nothing"
    done(quiet, last=1)
    assert steps_of(quiet, "one") == [10, 20, 50]
    assert sorted(s for (s,) in quiet.rows("SELECT step FROM checkpoints")) == [10, 20, 50]


def test_old_ones_go_but_for_the_newest_and_so_does_old_trash(quiet):
    quiet.run("old", (1, 2), ended=time.time() - 40 * DAY)
    quiet.run("young", (1, 2), ended=time.time() - 2 * DAY)
    items = shown(quiet, days=30)
    assert [(item.what, item.why) for item in items] == [("old@1", "its run ended 40 days ago")]
    trash.remove(quiet.supervisor, Remove(["old"]))
    assert shown(quiet, trash_days=30) == []
    assert names(shown(quiet, trash_days=0)) == ["old"]


def test_the_oldest_go_until_the_rest_fits_and_only_what_was_shown(quiet):
    for number, age in (("a", 3), ("b", 2), ("c", 1)):
        quiet.run(number, (1, 2, 3), ended=time.time() - age * DAY, size=1 << 20)
    assert names(shown(quiet, total_gib=7.01 / 1024)) == ["a@2", "a@1"]
    assert names(shown(quiet, total_gib=0.0)) == ["a@2", "a@1", "b@2", "b@1", "c@2", "c@1"]
    assert shown(quiet, total_gib=1.0) == []
    paths = ["runs/0001-a/checkpoints/step-000001", "../../etc"]
    cleaned(quiet, Clean({**ALL, "last": 1}, paths))
    assert [steps_of(quiet, name) for name in "abc"] == [[2, 3], [1, 2, 3], [1, 2, 3]], "only what was shown"
    quiet.close()
    before = dump(quiet.home.database)
    assert [row[2] for row in before["checkpoints"]] == [2, 3, 1, 2, 3, 1, 2, 3]
    rebuild(quiet.home)  # it does not come back
    assert differences(before, dump(quiet.home.database)) == []
    quiet.open()


def test_what_another_run_begins_from_stays_and_so_does_all_of_a_run_that_lives(quiet):
    quiet.run("parent", (1, 2, 3))
    quiet.run("child", (1,), model="run:parent@1")
    assert names(shown(quiet, last=1)) == ["parent@2"]
    quiet.run("other", (1, 2, 3))
    quiet.supervisor.connection.execute("UPDATE jobs SET word = 'running' WHERE run_id = 3")
    assert names(shown(quiet, last=1)) == ["parent@2"]


def test_caches_go_by_when_they_were_last_used_and_not_while_a_job_runs(quiet):
    root = quiet.home.root
    for folder in (
        quiet.home.models / "merged" / "abc",
        root / "datasets" / "squad",
        root / "retrieval" / "key",
    ):
        folder.mkdir(parents=True)
        old(folder / "data.bin", "x" * 500)
    scores = old(quiet.home.scores / "key.jsonl", "{}\n")
    wanted = {"merged_days": 30, "scores_days": 30, "datasets_days": 30}
    assert [(i.kind, i.size_bytes) for i in shown(quiet, **wanted)] == [
        ("merged model", 500), ("scores", 3), ("index of documents", 500), ("data set", 500),
    ]  # fmt: skip
    assert shown(quiet, merged_days=60) == []
    quiet.run("lives")
    quiet.supervisor.connection.execute("UPDATE jobs SET word = 'running'")
    assert shown(quiet, **wanted) == []
    quiet.supervisor.connection.execute("UPDATE jobs SET word = 'finished'")
    done(quiet, **wanted)
    trash.delete_discarded(quiet.home)
    assert not scores.exists()
    assert not list((quiet.home.models / "merged").rglob("*.bin"))


def test_selected_rows_go_once_no_run_names_them_in_the_trash_neither(quiet):
    folder = quiet.home.root / "selected"
    folder.mkdir()
    for name in ("random-2-aa", "length-2-bb", "random-9-cc"):
        old(folder / f"{name}.jsonl", "{}\n{}\n")
        old(folder / f"{name}.manifest.json", "{}")
    (folder / "random-1-dd.jsonl").write_text("{}\n")  # of today
    for number, name in ((1, "random-2-aa"), (2, "length-2-bb")):
        quiet.run(name)
        quiet.supervisor.connection.execute(
            "UPDATE runs SET recipe = ? WHERE id = ?",
            [f'{{"data": {{"train": [{{"path": "{folder}/{name}.jsonl"}}]}}}}', number],
        )
    trash.remove(quiet.supervisor, Remove(["length-2-bb"]))
    trashed = next(quiet.home.trash.glob("*-length-2-bb"))
    (trashed / "recipe.yaml").write_text(f"data: {{train: [{{path: {folder}/length-2-bb.jsonl}}]}}")
    (item,) = shown(quiet, selected_days=30)
    assert (item.kind, item.what, item.size_bytes) == ("selected rows", "random-9-cc.jsonl", 8)
    assert item.why == "no run names them, not used for 50 days"
    assert shown(quiet, selected_days=60) == []
    done(quiet, selected_days=30)
    kept = {file.name for file in folder.iterdir()}
    stay = ("length-2-bb", "random-2-aa")
    named = [f"{name}{ending}" for name in stay for ending in (".jsonl", ".manifest.json")]
    assert kept == {"random-1-dd.jsonl", *named}


def test_the_home_s_own_settings_hold_and_an_option_goes_before_them_if_it_can_be(quiet):
    quiet.run("one", (1, 2, 3, 4, 5))
    assert names(cleaned(quiet, Clean())) == ["one@2", "one@1"]
    (quiet.home.root / "settings.yaml").write_text("settings: 1\nkeep: {last: 4}\n")
    assert names(cleaned(quiet, Clean())) == ["one@1"]
    assert names(cleaned(quiet, Clean({"last": 2}))) == ["one@3", "one@2", "one@1"]
    for keep in ({"last": 0}, {"last": "many"}, {"lasst": 1}, {"days": -1}, {"total_gib": float("nan")}):
        with pytest.raises(BadInput, match="keep"):
            cleaned(quiet, Clean(keep))


class Counted:
    """A connection that counts its queries."""

    def __init__(self, connection):
        self.connection, self.queries = connection, 0

    def execute(self, *query):
        self.queries += 1
        return self.connection.execute(*query)


def test_the_number_of_queries_does_not_grow_with_the_runs(quiet):
    counts = []
    for number in range(3):
        quiet.run(f"r{number}", (1, 2), losses={1: 0.1, 2: 0.2})
        counted = Counted(quiet.supervisor.connection)
        assert [one.eval_rank for one in clean.saved(counted, quiet.home)] == [1, 0] * (number + 1)
        counts.append(counted.queries)
    assert len(set(counts)) == 1

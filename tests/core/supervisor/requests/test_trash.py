"""Removed runs: to the trash, restored row for row, deleted; and a crash in between."""

import os

import pytest
from dumping import differences, dump

from finetop.core.errors import EnvironmentTrouble, NotFound, Refused
from finetop.core.protocol.messages.trash import EmptyTrash, Remove, Restore
from finetop.core.store import run_records, runs
from finetop.core.supervisor.__main__ import open_home
from finetop.core.supervisor.requests import trash


def remove(quiet, *names, only_show=False):
    made = trash.remove(quiet.supervisor, Remove(list(names), only_show))
    run_records.write_marked(quiet.supervisor.connection, quiet.supervisor.home.root)
    return made


def restore(quiet, name):
    made = trash.restore(quiet.supervisor, Restore(name))
    run_records.write_marked(quiet.supervisor.connection, quiet.supervisor.home.root)
    return made.message


def reopened(quiet):
    quiet.supervisor.connection.close()
    quiet.supervisor.connection = open_home(quiet.home)
    return quiet.supervisor.connection


def test_removed_then_restored_the_database_is_the_same_row_for_row(quiet):
    quiet.run("stays", (1,))
    quiet.run("goes", (1, 2, 3), best=2, losses={1: 0.3, 2: 0.1, 3: 0.2}, size=5000)
    # what goes is said with its bytes, and nothing goes before it is told to
    before = sorted(quiet.home.root.rglob("*"))
    told = remove(quiet, "goes", only_show=True).runs[0]
    on_disk = sum(os.lstat(f).st_size for f in (quiet.home.runs / "0002-goes").rglob("*") if f.is_file())
    assert (told.name, told.checkpoints, told.size_bytes) == ("goes", 3, on_disk)
    assert on_disk > 15_000
    assert sorted(quiet.home.root.rglob("*")) == before
    assert len(quiet.rows("SELECT * FROM runs")) == 2
    quiet.close()
    before = dump(quiet.home.database)
    quiet.open()
    remove(quiet, "goes")
    assert [name for (name,) in quiet.rows("SELECT name FROM runs")] == ["stays"]
    for table in ("jobs", "metrics", "checkpoints"):
        assert {i for (i,) in quiet.rows(f"SELECT run_id FROM {table}")} == {1}
    assert [one.name for one in trash.trashed(quiet.home)] == ["goes"]
    assert restore(quiet, "goes") == "goes is back."
    quiet.close()
    after = dump(quiet.home.database)
    before.pop("removed"), after.pop("removed")
    assert differences(before, after) == []
    assert not (quiet.home.runs / "0002-goes" / trash.REMOVED).exists()
    quiet.open()


def test_a_number_is_never_given_twice_and_a_run_whose_name_was_given_away_comes_back_under_another(quiet):
    quiet.run("same")
    quiet.run("two")
    remove(quiet, "two")
    trash.empty(quiet.supervisor, EmptyTrash(["0002-two"]))  # it is gone for good
    remove(quiet, "same")
    assert quiet.run("same") == 3
    assert quiet.rows("SELECT max(id) FROM jobs") == [(3,)]
    assert restore(quiet, "1") == "same is back as same-2: its name is taken."
    assert runs.find_run(quiet.supervisor.connection, "same-2")[0] == 1


def test_a_parent_stays_while_its_child_does_and_both_can_go_together(quiet):
    quiet.run("parent", (10,))
    quiet.run("child", (5,), model="run:parent@10")
    with pytest.raises(Refused, match=r"child begins from parent.*finetop rm parent child"):
        remove(quiet, "parent")
    remove(quiet, "child", "parent")
    with pytest.raises(Refused, match=r"--restore 1"):
        restore(quiet, "child")
    restore(quiet, "parent")
    restore(quiet, "child")
    assert quiet.rows("SELECT parent_id, step FROM parents") == [(1, 10)]


@pytest.mark.parametrize("moment", ["before the rows went", "before the folder moved"])
def test_a_crash_while_a_run_is_removed_leaves_it_here_or_in_the_trash(quiet, monkeypatch, moment):
    quiet.run("one", (1,))

    def die(*_):
        raise KeyboardInterrupt

    where = "run_records.remove_run" if moment == "before the rows went" else "_move"
    monkeypatch.setattr(f"finetop.core.supervisor.requests.trash.{where}", die)
    with pytest.raises(KeyboardInterrupt):
        remove(quiet, "one")
    monkeypatch.undo()
    run_records.write_marked(quiet.supervisor.connection, quiet.supervisor.home.root)
    assert (quiet.home.runs / "0001-one" / trash.REMOVED).exists()
    connection = reopened(quiet)
    is_here = connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    assert is_here == (moment == "before the rows went")
    assert (quiet.home.runs / "0001-one").exists() == is_here
    assert [one.name for one in trash.trashed(quiet.home)] == ([] if is_here else ["one"])


def test_for_good_takes_what_was_shown_alone_and_follows_no_link(quiet, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine.txt").write_text("mine")
    quiet.run("one")
    quiet.run("two")
    (quiet.home.runs / "0001-one" / "link").symlink_to(outside)
    remove(quiet, "one", "two")
    assert trash.empty(quiet.supervisor, EmptyTrash(["0001-one", "../runs"])).message.startswith("1 ")
    assert [trashed_run.name for trashed_run in trash.trashed(quiet.home)] == ["two"]
    trash.delete_discarded(quiet.home)
    assert list((quiet.home.trash / trash.GOING).iterdir()) == []
    assert (outside / "mine.txt").read_text() == "mine"


def test_a_run_that_waits_a_folder_that_is_a_link_and_a_run_on_a_full_disk_stay(quiet, tmp_path, monkeypatch):
    for name in ("one", "two"):
        quiet.run(name)
    quiet.queue("waits")
    waits = r"train of waits is queued\. End it first: finetop stop waits\."
    for names in (["waits"], ["one", "waits"]):  # several are removed all or none
        with pytest.raises(Refused, match=waits):
            remove(quiet, *names)
    with pytest.raises(NotFound, match="no run 'nobody'"):
        remove(quiet, "nobody")
    folder = quiet.home.runs / "0001-one"
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused, match="is a link"):
        remove(quiet, "one")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("finetop.core.supervisor.requests.trash.write_whole", full)
    with pytest.raises(EnvironmentTrouble, match="No space left"):
        remove(quiet, "two")
    assert len(quiet.rows("SELECT * FROM runs")) == 3

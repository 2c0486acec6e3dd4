"""Runs of several machines as one list."""

import statistics
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from still import empty_database
from store_rows import add_run
from tui_fakes import NOW, FakeSupervisor, make_row, mixed_rows

from finetop.core.client.remote.fleet import Fleet
from finetop.core.client.remote.merge_runs import at, bare, merged, numbered, order, placed, there
from finetop.core.errors import BadInput, NoSupervisor, NotFound
from finetop.core.features.approaches import messages as approaches
from finetop.core.protocol.messages import runs
from finetop.core.protocol.messages.checks import Check
from finetop.core.protocol.messages.notes import Note, Tag
from finetop.core.protocol.messages.queue import Stop
from finetop.core.protocol.messages.runs import GetRun, Runs, RunsAnswer, Sql, Sweeps
from finetop.core.protocol.messages.session import Shutdown
from finetop.core.protocol.messages.submit import Submit, SubmitSweep, SweepRun
from finetop.core.protocol.messages.trash import Remove, Restore
from finetop.core.protocol.run_filter import Sort, read_sort
from finetop.core.protocol.runs import Failed, Finished, Queued, Running, RunRow
from finetop.core.store import run_list
from finetop.core.store.database import json_text, open_store, transaction

LABELS = ["lab", "box", "here"]


@given(st.integers(0, 10**9), st.sampled_from(LABELS))
def test_numbers_of_several_machines_never_meet_and_lead_back(number, label):
    assert there(str(numbered(number, LABELS, label)), LABELS) == (label, str(number))


def test_names_lead_back():
    row = placed(make_row(7, "support", Queued(1)), LABELS, "box")
    assert (row.name, row.host, bare(row)) == ("box:support", "box", "support")
    assert there(row.name, LABELS) == ("box", "support")
    assert there("support", LABELS) is None
    assert there("elsewhere:support", LABELS) is None


def test_what_needs_somebody_comes_first_whatever_the_machine():
    bad = make_row(1, "bad", Failed(NOW - 50, "x"), needs_you=True)
    live = make_row(2, "runs", Running(NOW - 5))
    waits = make_row(3, "waits", Queued(1))
    done = make_row(4, "done", Finished(NOW - 9, NOW - 3))
    merged_rows = merged([[live, waits], [bad, done]], Sort())
    assert [row.name for row in merged_rows] == ["bad", "runs", "waits", "done"]
    for word in ("needs_you", "newest", "name", "-name", "-age", "loss", "-drop", "train.seed"):
        assert sorted(mixed_rows(), key=lambda row: order(row, read_sort(word)))


@given(st.lists(st.lists(st.integers(0, 50), max_size=8), max_size=4))
def test_within_a_machine_its_own_order_holds(lists):
    def row(number, i, at):
        return make_row(i, f"{number}-{i}", Finished(0, float(at)))

    machines = [[row(number, i, at) for i, at in enumerate(ended)] for number, ended in enumerate(lists)]
    merged_rows = merged(machines, Sort())
    assert len(merged_rows) == sum(map(len, machines))
    for rows in machines:
        assert [row for row in merged_rows if row in rows] == rows


class Answering(FakeSupervisor):
    """Answers requests of some kinds by a function too."""

    def __init__(self, row, **answers):
        super().__init__([row])
        self.answers = answers

    async def ask(self, ask):
        if self.is_gone or type(ask).__name__ not in self.answers:
            return await super().ask(ask)
        self.asked.append(ask)
        return self.answers[type(ask).__name__](ask)


async def test_sweeps_are_named_with_their_machine_and_one_is_asked_of_it_alone():
    row = make_row(1, "tone-s1", Finished(0, NOW))

    def sweeps(ask):
        swept = [runs.SweptRun(row, {"train.seed": "1"})] if ask.sweep else []
        return runs.SweepsAnswer([runs.SweepBrief("tone", 1, 1, 0)], swept, [])

    lab, box = (Answering(row, Sweeps=sweeps) for _ in range(2))
    fleet = Fleet({"lab": lab, "box": box})
    assert [brief.name for brief in (await fleet.ask(Sweeps())).sweeps] == ["lab:tone", "box:tone"]
    lab.leave()
    assert [brief.name for brief in (await fleet.ask(Sweeps())).sweeps] == ["box:tone"]
    reply = await fleet.ask(Sweeps("box:tone"))
    assert box.asked[-1] == Sweeps("tone")
    assert ([swept.row.name for swept in reply.runs], reply.sweeps[0].name) == (["box:tone-s1"], "box:tone")


async def test_comparisons_are_named_with_their_machine_and_so_are_their_runs():
    def machine(created):
        brief = approaches.ComparisonBrief("kb", created, "token_f1", 1, 1, 1, 0)
        run = approaches.RunBrief(1, "kb-prompt", "finished", 1)
        row = approaches.ApproachRow(name="prompt", about="", trains=False, state="measured", runs=[run])
        return Answering(
            make_row(1, "kb", Finished(0, NOW)),
            SubmitApproaches=lambda ask: approaches.SubmitApproachesAnswer(ask.name, [], {}),
            Approaches=lambda ask: approaches.ApproachesAnswer([brief], ask.comparison, rows=[row]),
        )  # fmt: skip

    lab, box = machine(NOW - 9), machine(NOW)
    fleet = Fleet({"lab": lab, "box": box})
    every = await fleet.ask(approaches.Approaches())
    assert [brief.name for brief in every.comparisons] == ["box:kb", "lab:kb"], "the newest first"
    reply = await fleet.ask(approaches.Approaches("lab:kb"))
    assert lab.asked[-1] == approaches.Approaches("kb")
    assert (reply.name, reply.rows[0].runs[0].name) == ("lab:kb", "lab:kb-prompt")
    queued = await fleet.ask(approaches.SubmitApproaches("box:kb", "", "token_f1", [], {}, ""))
    assert queued.comparison == "box:kb"
    box.leave()
    assert [brief.name for brief in (await fleet.ask(approaches.Approaches())).comparisons] == ["lab:kb"]


def fleet_of(*sizes: int) -> tuple[Fleet, list[FakeSupervisor]]:
    def row(i: int, at: int) -> RunRow:
        return make_row(i, f"run-{i:04d}", Finished(NOW - 9, NOW - 10.0 * i - at), created=NOW - i)

    fakes = [FakeSupervisor([row(i, at) for i in range(1, size + 1)]) for at, size in enumerate(sizes)]
    return Fleet(dict(zip(LABELS, fakes, strict=False))), fakes


async def test_every_page_of_a_long_list_is_a_piece_of_one_order_also_without_those_before():
    fleet, _ = fleet_of(230, 120, 0)
    whole = []
    for offset in range(0, 400, 100):
        page = await fleet.ask(Runs(offset=offset, limit=100))
        assert (page.matching, page.total) == (350, 350)
        whole += page.rows
    assert len({row.id for row in whole}) == len(whole) == 350
    ended = [-row.state.ended for row in whole]
    assert ended == sorted(ended)
    for asked in (fleet, fleet_of(230, 120, 0)[0]):
        assert (await asked.ask(Runs(offset=200, limit=100))).rows == whole[200:300]


async def test_what_is_asked_of_a_run_goes_to_its_machine_and_comes_back_under_its_name():
    fleet, (lab, box) = fleet_of(3, 3)
    detail = await fleet.ask(GetRun("box:run-0002"))
    assert detail.row.name == "box:run-0002"
    assert (await fleet.ask(GetRun(str(detail.row.id)))).row == detail.row
    assert (await fleet.ask(Stop("lab:run-0001"))).message == "lab: run-0001 is being ended."
    assert (await fleet.ask(Check("box:run-0003"))).run == "box:run-0003"
    assert lab.asked == [Stop("run-0001")]
    assert box.asked[-1] == Check("run-0003")
    answer = await fleet.ask(Submit({}, "", "lab:new"))
    assert answer.name == "lab:new"
    assert lab.asked[-1] == Submit({}, "", "new")
    points = [SweepRun("new-s1", {}), SweepRun("new-s2", {})]
    queued = await fleet.ask(SubmitSweep("box:new", points, ""))
    assert (queued.sweep, [run.name for run in queued.runs]) == ("new", ["box:new-s1", "box:new-s2"])
    assert box.asked[-1] == SubmitSweep("new", points, "")


async def test_tags_notes_and_the_trash_of_several_machines():
    fleet, (lab, box) = fleet_of(3, 3)
    answer = await fleet.ask(Tag("box:run-0002", ["keep"]))
    assert (answer.run, box.asked) == ("box:run-0002", [Tag("run-0002", ["keep"])])
    assert (await fleet.ask(Note("lab:run-0001", "x"))).run == "lab:run-0001"
    answer = await fleet.ask(Remove(["lab:run-0001", "box:run-0003", "lab:run-0002"]))
    assert [run.name for run in answer.runs] == ["lab:run-0001", "lab:run-0002", "box:run-0003"]
    assert lab.asked[-1] == Remove(["run-0001", "run-0002"])
    for run in answer.runs:  # a number identifies its machine
        await fleet.ask(Restore(str(run.run_id)))
    assert lab.asked[-2:] == [Restore("1"), Restore("2")]
    assert box.asked[-1] == Restore("3")


async def test_without_a_machine_nothing_is_asked():
    fleet, fakes = fleet_of(1, 1)
    for ask in (Submit({}, "", "new"), Stop("run-0001"), Shutdown(), Sql("SELECT 1")):
        with pytest.raises(BadInput, match="on which machine"):
            await fleet.ask(ask)
    assert fakes[0].asked == fakes[1].asked == []
    with pytest.raises(NotFound):
        await fleet.ask(GetRun("lab:nobody"))


async def test_rows_of_a_machine_that_is_away_stay_as_they_were():
    fleet, (lab, box) = fleet_of(5, 5)
    before = await fleet.ask(Runs())
    lab.leave()
    box.change(box.rows[:2])
    after = await fleet.ask(Runs())
    of_lab = [[row for row in answer.rows if row.host == "lab"] for answer in (before, after)]
    assert of_lab[0] == of_lab[1] != []
    assert [bare(row) for row in after.rows if row.host == "box"] == ["run-0001", "run-0002"]
    filtered = await fleet.ask(Runs(filter="0003"))
    assert [row.name for row in filtered.rows] == ["lab:run-0003"]
    with pytest.raises(NoSupervisor):
        await fleet.ask(Stop("lab:run-0001"))
    lab.is_gone = False
    lab.change(lab.rows[:1])
    assert (await fleet.ask(Runs())).matching == 3
    # they keep their own order: otherwise the list would claim that it has changed
    fleet, (lab, _) = fleet_of(5, 0)
    lab.change([lab.rows[i] for i in (3, 0, 4, 1, 2)])
    before = await fleet.ask(Runs())
    assert [bare(row) for row in before.rows] == [f"run-000{i}" for i in (4, 1, 5, 2, 3)]
    lab.leave()
    assert (await fleet.ask(Runs())).rows == before.rows


class Stored:
    """A machine's real store, which answers with pages of its list."""

    def __init__(self, folder: Path, runs: list[tuple[str, int, float]]) -> None:
        folder.mkdir()
        self.is_gone = False
        (folder / "finetop.duckdb").write_bytes(empty_database())
        self._connection = open_store(folder / "finetop.duckdb")
        with transaction(self._connection):
            for number, (method, seed, loss) in enumerate(runs, start=1):
                name = f"{method}-{number:03d}"
                add_run(self._connection, name, method={"name": method}, train={"seed": seed})
                state = json_text(Finished(NOW - 9, NOW - number))
                self._connection.execute(
                    "UPDATE runs SET last = ?, state = ?, ended = ?, rank = 3 WHERE id = ?",
                    [f'{{"loss":{loss}}}', state, NOW - number, number],
                )

    async def ask(self, ask: Runs) -> RunsAnswer:
        if self.is_gone:
            raise NoSupervisor("no supervisor answers.")
        return run_list.page(
            self._connection, filter=ask.filter, sort=ask.sort, offset=ask.offset, limit=ask.limit, revision=1,
            now=NOW, wanted=ask.settings,
        )  # fmt: skip

    def close(self) -> None:
        self._connection.close()


async def whole_of(fleet, line):
    """Return the rows and the groups of a list of two pages."""
    pages = [await fleet.ask(Runs(line, offset=offset, limit=100)) for offset in (0, 100)]
    rows = [row for page in pages for row in page.rows]
    return rows, {group.word: group for page in pages for group in page.groups}


async def test_two_machines_are_sorted_by_a_number_and_parted_by_a_setting_as_one(tmp_path):
    of_lab = [("lora" if i % 3 else "full", i % 4, (i * 7) % 50 / 10) for i in range(110)]
    lab = Stored(tmp_path / "lab", of_lab)
    box = Stored(tmp_path / "box", [("dora", i % 3 + 2, (i * 11) % 50 / 10) for i in range(60)])
    fleet = Fleet({"lab": lab, "box": box})
    rows, _ = await whole_of(fleet, "sort:-loss")
    losses = [row.metrics["loss"] for row in rows]
    assert losses == sorted(losses, reverse=True)
    rows, groups = await whole_of(fleet, "group:train.seed sort:loss")
    assert len(rows) == len({row.id for row in rows}) == 170
    places = [(row.settings["train.seed"], row.metrics["loss"]) for row in rows]
    assert places == sorted(places)
    assert {row.host for row in rows if row.group == "3"} == {"lab", "box"}
    for word, group in groups.items():
        own = [row.metrics["loss"] for row in rows if row.group == word]
        assert (group.runs, group.measured) == (len(own), len(own))
        assert group.mean == pytest.approx(statistics.mean(own))
        assert group.spread == pytest.approx(statistics.stdev(own))
    # what only one machine has is found there, and what none has is refused
    lab._connection.execute("UPDATE runs SET last = '{\"kl\":1.0}' WHERE id < 4")
    page = await fleet.ask(Runs("kl<2"))
    assert {row.host for row in page.rows} == {"lab"}
    assert page.matching == 3
    with pytest.raises(BadInput, match=r"no run has a metric lss\. Did you mean loss"):
        await fleet.ask(Runs("lss<2"))
    page = await fleet.ask(Runs("method:lora loss>100"))
    assert dict(page.without) == {"method:lora": 0, "loss>100": 73}
    await whole_of(fleet, "method:dora sort:-loss")
    box.is_gone = True
    page = await fleet.ask(Runs("method:dora sort:-loss loss<0.4"))
    losses = [row.metrics["loss"] for row in page.rows]
    assert losses == sorted(losses, reverse=True)
    assert {row.host for row in page.rows} == {"box"}
    lab.close()
    box.close()


async def test_a_machine_is_a_word_and_a_field_of_the_filter_though_it_does_not_know_its_name():
    fleet = Fleet({"lab": FakeSupervisor(mixed_rows()), "box": FakeSupervisor(mixed_rows())})
    for text, host in (("lab", "lab"), ("host:box", "box"), ("-lab", "box"), ("-host:box sort:name", "lab")):
        reply = await fleet.ask(Runs(text))
        assert {row.host for row in reply.rows} == {host} and reply.matching == 13, text
    assert (await fleet.ask(Runs("host:elsewhere"))).matching == 0
    assert at(Runs("lab loss<1 sort:loss"), "lab").filter == "loss<1 sort:loss"
    assert at(Runs("lab loss<1"), "box").filter == "lab loss<1"

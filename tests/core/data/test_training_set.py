"""No row is lost, truncated or mixed in without being counted; a bad one is named before anything heavy is loaded."""

from __future__ import annotations

import datasets
import pytest
from tiny_run import write_rows as write_all

from finetop.core.data import training_set
from finetop.core.data.sources import read as rows_of
from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.plan import lengths
from finetop.core.protocol.events import DataRead, FirstRow, SourceRead, decode
from finetop.core.recipe.load import recipe_from_mapping
from finetop.core.recipe.schema import Data, EvalShare, Source
from finetop.core.runtime.event_log import EventLog
from finetop.core.runtime.home import Home
from finetop.core.train.objectives import sft

NO_EVAL = EvalShare(share=0)


def write_rows(path, answers):
    return str(
        write_all(path, [{"prompt": f"Question {i}?", "completion": a} for i, a in enumerate(answers)])
    )


@pytest.fixture
def events(tmp_path):
    log = EventLog(tmp_path / "events.jsonl")
    yield log
    log.close()


def written(tmp_path, kind):
    lines = (tmp_path / "events.jsonl").read_bytes().splitlines()
    return [event for event in (decode(line).e for line in lines) if isinstance(event, kind)]


def test_a_bad_row_is_named_by_file_and_line_with_no_tokenizer_in_sight(tmp_path, events):
    for name, content, why in (
        ("faq.jsonl", ["So."] * 16 + [5], r"^faq\.jsonl:17: completion is a number"),
        ("empty.jsonl", [], r"empty\.jsonl: has no rows"),
    ):
        data = Data(train=(Source(path=write_rows(tmp_path / name, content)),))
        with pytest.raises(BadInput, match=why):
            training_set.read(data, 1, Home(tmp_path), events)


def read_and_build(tmp_path, events, tokenizer, recipe):
    rows = training_set.read(recipe, 1, Home(tmp_path), events)
    make = lambda some: sft.PLUGIN.examples(some, sft.Options(), tokenizer, 64)  # noqa: E731
    return training_set.build(rows, recipe, make, 1, tokenizer, events)


def sources(tmp_path, answers):
    return (Source(path=write_rows(tmp_path / "faq.jsonl", answers)),)


def test_long_rows_are_cut_or_dropped_and_counted(tmp_path, events, tokenizer):
    def built(on_long, answers):
        recipe = Data(train=sources(tmp_path, answers), eval=NO_EVAL, max_tokens=40, on_long=on_long)
        return read_and_build(tmp_path, events, tokenizer, recipe).train

    examples = built("truncate", ["short", "x" * 300])
    assert max(len(example.input_ids) for example in examples) == 40
    (report,) = written(tmp_path, DataRead)
    assert (report.rows, report.kept, report.dropped, report.truncated) == (2, 2, 0, 1)
    assert report.longest_tokens > 100
    assert report.answer_tokens == sum(example.answer_tokens for example in examples)
    (first,) = written(tmp_path, FirstRow)
    assert first.pieces[-1] == ("short<|end|>\n", True)
    assert len(built("drop", ["short", "x" * 300])) == 1
    report = written(tmp_path, DataRead)[-1]
    assert (report.kept, report.dropped, report.truncated) == (1, 1, 0)
    with pytest.raises(BadInput, match="no row is left to learn from"):
        built("drop", ["x" * 300])
    # more long rows than allowed end the run
    nine = ["short"] * 9 + ["x" * 300]
    why = r"^faq\.jsonl: 1 of 10 rows are longer than data\.max_tokens \(40\)"
    for limit in (5, 9):
        with pytest.raises(BadInput, match=why):
            built(f"error-over-{limit}%", nine)
    assert len(built("error-over-10%", nine)) == 9


def test_a_row_whose_answer_is_cut_off_whole_is_dropped(tmp_path, events, tokenizer):
    rows = [{"prompt": "long " * 50, "completion": "never seen"}, {"prompt": "a", "completion": "b"}]
    path = str(write_all(tmp_path / "faq.jsonl", rows))
    recipe = Data(train=(Source(path=path),), eval=NO_EVAL, max_tokens=40, on_long="truncate")
    assert len(read_and_build(tmp_path, events, tokenizer, recipe).train) == 1
    (report,) = written(tmp_path, DataRead)
    assert (report.kept, report.dropped, report.truncated) == (1, 1, 0)


def test_a_data_set_of_the_hub_that_is_not_here_is_refused_at_once_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    home, source = Home(tmp_path / "home"), Source(id="org/My_Set")
    recipe = recipe_from_mapping({"recipe": 1, "name": "x", "data": {"train": [{"id": "org/My_Set"}]}})
    for read in (lambda: rows_of(source, home), lambda: lengths.measure(recipe, None, home)):
        with pytest.raises(BadInput, match="data: org/My_Set is not here, and HF_HUB_OFFLINE keeps"):
            read()
    (home.root / "datasets/org___my_set").mkdir(parents=True)
    assert lengths.measure(recipe, None, home) is None
    with pytest.raises(EnvironmentTrouble, match="org/My_Set is not here, and the hub can't be reached"):
        rows_of(source, home)


def test_rows_set_aside_are_not_trained_on_and_are_the_same_each_time(tmp_path, events):
    recipe = Data(train=sources(tmp_path, [f"answer {i}" for i in range(50)]), eval=EvalShare(share=0.2))
    first = training_set.read(recipe, 1, Home(tmp_path), events)
    again = training_set.read(recipe, 1, Home(tmp_path), events)
    other = training_set.read(recipe, 2, Home(tmp_path), events)
    places = {row.place for row in first.eval[0].rows}
    assert len(places) == 10
    assert len(first.train[0].rows) == 40
    assert not places & {row.place for row in first.train[0].rows}
    assert places == {row.place for row in again.eval[0].rows}
    assert places != {row.place for row in other.eval[0].rows}
    # one row is still trained on
    recipe = Data(train=sources(tmp_path, ["only"]), eval=EvalShare(share=0.5))
    read = training_set.read(recipe, 1, Home(tmp_path), events)
    assert len(read.train[0].rows) == 1
    assert read.eval == []
    # a replay source is not used for evaluation
    replay = Source(path=write_rows(tmp_path / "general.jsonl", ["g"] * 20), role="replay")
    recipe = Data(train=(*sources(tmp_path, ["a"] * 20), replay), eval=EvalShare(share=0.5))
    read = training_set.read(recipe, 1, Home(tmp_path), events)
    assert [source.name for source in read.eval] == ["faq.jsonl (set aside)"]
    # a source that is used several times keeps half of its rows
    main = Source(path=write_rows(tmp_path / "main.jsonl", [f"m{i}" for i in range(100)]))
    few = Source(path=write_rows(tmp_path / "few.jsonl", [f"f{i}" for i in range(4)]), share=0.5)
    read = training_set.read(Data(train=(main, few), eval=EvalShare(share=0.1)), 1, Home(tmp_path), events)
    assert [len(one.rows) for one in (*read.train, *read.eval)] == [90, 2, 10, 2]
    # only the first rows are used
    few = Source(path=write_rows(tmp_path / "faq.jsonl", ["a", "b", "c"]), rows=2)
    read = training_set.read(Data(train=(few,), eval=NO_EVAL), 1, Home(tmp_path), events)
    assert [row.place for row in read.train[0].rows] == ["faq.jsonl:1", "faq.jsonl:2"]


def test_a_share_is_of_the_whole_mix(capsys):
    main, replay, rare = ["m"] * 80, [f"r{i}" for i in range(500)], ["x", "y"]
    mixed = training_set.mix([main, replay, rare], [None, 0.1, 0.1], seed=1)
    assert (mixed.count("m"), sum(row.startswith("r") for row in mixed), len(mixed)) == (80, 10, 100)
    assert len({row for row in mixed if row.startswith("r")}) == 10  # without repeats if there are enough
    assert mixed.count("x") == mixed.count("y") == 5
    assert "2 rows are used 5.0 times" in capsys.readouterr().out


def test_evaluation_rows_are_mixed_as_the_training_rows_are(tmp_path, events, tokenizer):
    """70 rows to 30, whatever the sources' sizes; and the report says how many rows of a source are used."""
    main = Source(path=write_rows(tmp_path / "main.jsonl", [f"m{i}" for i in range(140)]))
    large = Source(path=write_rows(tmp_path / "large.jsonl", [f"l{i}" for i in range(900)]), share=0.3)
    recipe = Data(train=(main, large), eval=EvalShare(share=0.1))
    read = training_set.read(recipe, 1, Home(tmp_path), events)
    set_aside = [("main.jsonl (set aside)", 14), ("large.jsonl (set aside)", 6)]
    assert [(one.name, len(one.rows)) for one in read.eval] == set_aside
    assert [len(one.rows) for one in read.train] == [126, 894]
    built = read_and_build(tmp_path, events, tokenizer, recipe)
    assert len(built.train) == 180
    told = written(tmp_path, DataRead)
    assert [(one.kept, one.used) for one in told] == [(126, None), (894, 54), (14, None), (6, None)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("saved", ["one", "splits", "parquet"])
def test_local_data_sets_are_read(tmp_path, events, saved):
    import datasets

    pairs = (("Why?", "So."), ("How?", "By."))
    rows = datasets.Dataset.from_list([{"prompt": asked, "completion": answer} for asked, answer in pairs])
    folder = tmp_path / "set"
    if saved == "one":
        rows.save_to_disk(str(folder))
    elif saved == "splits":
        datasets.DatasetDict({"train": rows}).save_to_disk(str(folder))
    else:
        folder.mkdir()
        rows.to_parquet(str(folder / "train.parquet"))
    read = training_set.read(Data(train=(Source(id=str(folder)),), eval=NO_EVAL), 1, Home(tmp_path), events)
    assert [row.conversation.answer for row in read.train[0].rows] == ["So.", "By."]
    (told,) = written(tmp_path, SourceRead)
    assert told.rows == 2 and len(told.content) == 64 and told.fingerprint and told.written is None
    if saved == "splits":
        with pytest.raises(BadInput, match=r"has no split test\. There is train\."):
            training_set.read(Data(train=(Source(id=str(folder), split="test"),)), 1, Home(tmp_path), events)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_columns_and_labels_of_a_data_set(tmp_path, events):
    import datasets

    rows = [{"text": "a", "title": None, "label": 1}, {"text": "b", "title": "T", "label": 0}]
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "set"))
    columns = {"prompt": "{title}{text}", "completion": "label"}
    source = Source(id=str(tmp_path / "set"), columns=columns, labels={"0": "no", "1": "yes"})
    read = [row.conversation for row in rows_of(source, Home(tmp_path))]
    assert [(row.prompt[0].content, row.answer) for row in read] == [("a", "yes"), ("Tb", "no")]
    # one that is not there is named
    with pytest.raises(BadInput, match="no folder"):
        training_set.read(Data(train=(Source(id=str(tmp_path / "none")),)), 1, Home(tmp_path), events)


def test_the_system_prompt_of_most_rows_is_recorded_whatever_they_are_read_from(tmp_path, events):
    def rows(*systems):
        turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
        heads = [[{"role": "system", "content": system}] if system else [] for system in systems]
        return [{"messages": [*head, *turns]} for head in heads]

    files = {"most.jsonl": rows("Ahoy", "Ahoy", "Else"), "half.jsonl": rows("Ahoy", "")}
    paths = [str(write_all(tmp_path / name, content)) for name, content in files.items()]
    table = tmp_path / "table.parquet"
    datasets.Dataset.from_list(rows("Ahoy", "Ahoy")).to_parquet(table)
    data = Data(train=tuple(Source(path=path) for path in (*paths, str(table))), eval=NO_EVAL)
    training_set.read(data, 1, Home(tmp_path), events)
    assert [read.system for read in written(tmp_path, SourceRead)] == ["Ahoy", "", "Ahoy"]

"""Tables of numbers: Lightning's metrics.csv, whose header changes, and those of scripts."""

from pathlib import Path

import pytest
from metric_files import found, opened, put, read, steps

from finetop.core.external.sources import Reader


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.csv"


def table(path: Path, text: str) -> Reader:
    return opened("csv", put(path, text))


def test_rows_with_empty_cells_and_some_that_are_too_long_or_short(path):
    values = read(table(path, "epoch,step,train_loss,val_loss\n0,9,1.5,\n0,9,,1.25\n0,19,nan,\n1,2"))
    assert values[:2] == [(9, {"epoch": 0.0, "train_loss": 1.5}), (9, {"epoch": 0.0, "val_loss": 1.25})]
    assert [step for step, _ in values] == [9, 9, 19]
    assert steps(table(path, "step,loss\n1\n2,1.5,9,9\n" + "3," + "1" * 200_000 + "\n4,1.0\n")) == [2, 4]


def test_lightning_writes_the_file_anew_for_a_new_column(path):
    reader = table(path, "step,train_loss\n9,1.5\n19,1.25\n")
    assert len(read(reader)) == 2
    put(path, "step,train_loss,val_loss\n9,1.5,\n19,1.25,\n19,,1.0\n29,1.1,\n")
    assert read(reader)[2:] == [(19, {"val_loss": 1.0}), (29, {"train_loss": 1.1})]


def test_a_program_that_starts_again_appends_its_header(path):
    reader = table(path, "step,loss\n1,1.5\nstep,lr,loss\n2,0.1,1.25\n")
    assert read(reader) == [(1, {"loss": 1.5}), (2, {"lr": 0.1, "loss": 1.25})]


@pytest.mark.parametrize("separator", [";", "\t", ", "])
def test_other_separators(path, separator):
    text = "\n".join(separator.join(cells) for cells in (("step", "loss"), ("1", "1.5"))) + "\r\n"
    assert read(table(path, text)) == [(1, {"loss": 1.5})]


def test_rows_without_a_step_count_if_they_have_a_loss(path):
    counted = [(1, {"epoch": 0.0, "loss": 2.0}), (2, {"epoch": 1.0, "loss": 1.0})]
    assert read(table(path, "epoch,loss\n0,2.0\n1,1.0\n")) == counted
    assert read(table(path, "name,score\na,2.0\nb,1.0\n")) == []


NONE = ("1,2\n3,4\n", "\0,\0\n", '"' * 200_000 + "\n", "step\n" * 3, "\n\n", 'a,"b\n1,2\n')


@pytest.mark.parametrize("text", NONE, ids=range(len(NONE)))
def test_files_that_are_no_table_of_numbers(path, text):
    assert read(table(path, text)) == []


def test_tables_are_found_where_lightning_puts_them(path, tmp_path):
    lightnings = put(tmp_path / "lightning_logs" / "version_0" / "metrics.csv", "")
    put(path, "")
    put(tmp_path / "rows.csv", "")  # it may be data
    assert set(found("csv", tmp_path)) == {lightnings, path}

"""Tables of numbers: Lightning's metrics.csv, whose header changes, and those of scripts."""

from pathlib import Path

import pytest
from metric_files import opened, read

from finetop.core.external.sources import Places, load


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "metrics.csv"
    path.write_bytes(text.encode())
    return path


def test_rows_with_empty_cells(tmp_path: Path) -> None:
    path = table(tmp_path, "epoch,step,train_loss,val_loss\n0,9,1.5,\n0,9,,1.25\n0,19,nan,\n1,2")
    values = read(opened("csv", path))
    assert values[:2] == [(9, {"epoch": 0.0, "train_loss": 1.5}), (9, {"epoch": 0.0, "val_loss": 1.25})]
    assert [step for step, _ in values] == [9, 9, 19]


def test_lightning_writes_the_file_anew_for_a_new_column(tmp_path: Path) -> None:
    path = table(tmp_path, "step,train_loss\n9,1.5\n19,1.25\n")
    reader = opened("csv", path)
    assert len(read(reader)) == 2
    table(tmp_path, "step,train_loss,val_loss\n9,1.5,\n19,1.25,\n19,,1.0\n29,1.1,\n")
    assert read(reader)[2:] == [(19, {"val_loss": 1.0}), (29, {"train_loss": 1.1})]


def test_a_program_that_starts_again_appends_its_header(tmp_path: Path) -> None:
    path = table(tmp_path, "step,loss\n1,1.5\nstep,lr,loss\n2,0.1,1.25\n")
    assert read(opened("csv", path)) == [(1, {"loss": 1.5}), (2, {"lr": 0.1, "loss": 1.25})]


@pytest.mark.parametrize("separator", [";", "\t", ", "])
def test_other_separators(tmp_path: Path, separator: str) -> None:
    text = "\n".join(separator.join(cells) for cells in (("step", "loss"), ("1", "1.5"))) + "\r\n"
    assert read(opened("csv", table(tmp_path, text))) == [(1, {"loss": 1.5})]


def test_rows_without_a_step_count_if_they_have_a_loss(tmp_path: Path) -> None:
    assert read(opened("csv", table(tmp_path, "epoch,loss\n0,2.0\n1,1.0\n"))) == [
        (1, {"epoch": 0.0, "loss": 2.0}),
        (2, {"epoch": 1.0, "loss": 1.0}),
    ]
    assert read(opened("csv", table(tmp_path, "name,score\na,2.0\nb,1.0\n"))) == []


@pytest.mark.parametrize(
    "text", ["1,2\n3,4\n", "\0,\0\n", '"' * 200_000 + "\n", "step\n" * 3, "\n\n", 'a,"b\n1,2\n']
)
def test_files_that_are_no_table_of_numbers(tmp_path: Path, text: str) -> None:
    assert read(opened("csv", table(tmp_path, text))) == []


def test_rows_that_are_too_long_or_short(tmp_path: Path) -> None:
    path = table(tmp_path, "step,loss\n1\n2,1.5,9,9\n" + "3," + "1" * 200_000 + "\n4,1.0\n")
    assert [step for step, _ in read(opened("csv", path))] == [2, 4]


def test_tables_are_found_where_lightning_puts_them(tmp_path: Path) -> None:
    path = tmp_path / "lightning_logs" / "version_0" / "metrics.csv"
    path.parent.mkdir(parents=True)
    path.touch()
    own = table(tmp_path, "")
    (tmp_path / "rows.csv").touch()  # it may be data
    assert set(load("csv").find(Places((tmp_path,)))) == {path, own}

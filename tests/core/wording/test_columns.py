"""Columns as a table: heads, texts, and what is left out if no row has it."""

from finetop.core.wording.columns import Column, cells, known, right, titles

COLUMNS = [
    Column("name", lambda row: row[0], is_right=False),
    Column("loss", lambda row: row[1]),
    Column("GPU", lambda row: row[2], is_optional=True),
]


def test_an_optional_column_is_there_if_one_row_has_it():
    some, none = [("a", "0.5", "-"), ("b", "0.4", "12 s")], [("a", "-", "-"), ("b", "-", "")]
    assert titles(known(COLUMNS, some)) == ("name", "loss", "GPU")
    assert titles(known(COLUMNS, none)) == ("name", "loss")


def test_a_table_has_its_texts_row_by_row():
    assert cells(COLUMNS[:2], [("a", "0.5", ""), ("b", "-", "")]) == (("a", "0.5"), ("b", "-"))
    assert right(COLUMNS) == (1, 2)

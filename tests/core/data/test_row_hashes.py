"""The content of rows, by hash: equal rows are equal, whatever surrounds them."""

import json
import shutil

from finetop.core.data.row_hashes import Contents, file_of, keep

ROWS = [{"prompt": f"Question {i}?", "completion": f"Answer {i}."} for i in range(5)]


def contents(rows):
    made = Contents()
    for row in rows:
        made.add(row)
    return made


def test_the_order_of_keys_and_blanks_are_no_other_content_but_that_of_rows_and_each_character():
    turned = [dict(reversed(row.items())) for row in ROWS]
    assert contents(ROWS).content == contents(turned).content
    again = [json.loads(json.dumps(row, indent=3)) for row in ROWS]
    assert contents(ROWS).content == contents(again).content
    changed = [*ROWS[:4], {**ROWS[4], "completion": "Answer 4"}]
    others = (ROWS, [*reversed(ROWS)], ROWS[:4], [*ROWS, ROWS[0]], changed)
    assert len({contents(rows).content for rows in others}) == 5


def test_hashes_are_kept_eight_bytes_a_row_within_the_folder_and_a_full_disk_costs_no_run(tmp_path, capsys):
    assert file_of(tmp_path, "../../../etc/passwd" + "0" * 64) is None
    made = contents(ROWS)
    keep(made, tmp_path)
    file = file_of(tmp_path, made.content)
    assert file.read_bytes() == bytes(made.hashes) and file.stat().st_size == 8 * len(ROWS)
    shutil.rmtree(file.parent)
    (tmp_path / "data").write_text("in the way")
    keep(made, tmp_path)
    assert "could not be saved" in capsys.readouterr().out

"""Suite files: what is read, and every fault with its line."""

import subprocess
import sys

import pytest

from finetop.core.check.tasks.suite import find_suite, load_suite, read_rows, suites, task_fingerprint
from finetop.core.errors import BadInput, NotFound
from finetop.core.runtime.home import Home


def test_a_suite_is_read_with_absolute_paths(suite_folder, monkeypatch):
    monkeypatch.chdir("/")
    suite = find_suite("tiny", Home(suite_folder.parent))
    assert [task.name for task in suite.tasks] == ["numbers", "pairs", "orders"]
    assert suite.tasks[0].data == str(suite_folder / "numbers.jsonl")
    assert suite.text == suite_folder / "text.txt"
    rows = read_rows(suite.tasks[1])
    assert (rows[3].id, rows[3].cluster, rows[3].category) == ("p3", "c1", "words")


def test_an_unknown_suite_suggests_and_two_of_one_name_are_both_named(suite_folder):
    with pytest.raises(NotFound, match="Did you mean tiny"):
        find_suite("tinny", Home(suite_folder.parent))
    (suite_folder / "other.yaml").write_text((suite_folder / "tiny.yaml").read_text())
    with pytest.raises(BadInput, match=r"Two suites are named tiny: .*other.yaml and .*tiny.yaml"):
        suites(Home(suite_folder.parent))


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("about:", "abuot:", 3, "abuot is not a key of a suite. Did you mean about?"),
        ("    chance: 0.0\n", "    chnace: 0.0\n", 8, "Did you mean chance?"),
        ("    chance: 0.0\n", "    chance: 1.5\n", 8, "tasks[0].chance is 1.5; it must be a number from 0"),
        ("    chance: 0.0\n", "    chance: most\n", 8, "tasks[0].chance is 'most'"),
        ("    cap: 40\n", "    cap: 0\n", 9, "tasks[0].cap is 0"),
        ("    data: numbers.jsonl\n", "", 6, "a task has no data, task or yaml"),
        ("    chance: 0.0\n", "    task: arc_easy\n", 6, "a task has both data and task"),
        (
            "    data: numbers.jsonl\n",
            "    task: arc_easy\n    shape: pair\n",
            8,
            "shape can't be combined with task",
        ),
        ("    chance: 0.0\n", "    shape: choose\n", 8, "one of choice, "),
        ("numbers.jsonl", "absent.jsonl", 7, "there is no file"),
        ("text: text.txt", "text: absent.txt", 4, "there is no file"),
        ("name: pairs", "name: numbers", 16, "the task numbers comes twice"),
        ("suite: 1", "suite: 2", 1, "suite is 2; it must be 1"),
        ("name: tiny", "name: ../tiny", 2, "cannot be a name"),
    ],
)
def test_faults_have_their_line(suite_folder, old, new, line, said):
    file = suite_folder / "tiny.yaml"
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(BadInput) as caught:
        load_suite(file)
    assert f"tiny.yaml:{line}: " in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("not json", "is not JSON"),
        ('{"id": ""}', "id is ''"),
        ('{"question": "?"}', "id is null"),
        ('{"id": "n1"}', "the id 'n1' comes twice"),
        ('{"id": "x", "category": 3}', "category is 3"),
    ],
)
def test_a_faulty_row_has_its_line(suite_folder, row, said):
    with (suite_folder / "numbers.jsonl").open("a") as file:
        file.write(row + "\n")
    (task, *_) = load_suite(suite_folder / "tiny.yaml").tasks
    with pytest.raises(BadInput) as caught:
        read_rows(task)
    assert "numbers.jsonl:61" in str(caught.value)
    assert said in str(caught.value)


def test_fingerprint_follows_what_moves_scores(suite_folder):
    file = suite_folder / "tiny.yaml"
    before = task_fingerprint(load_suite(file).tasks[0])
    file.write_text(file.read_text().replace("cap: 40", "cap: 30"))
    assert task_fingerprint(load_suite(file).tasks[0]) == before
    file.write_text(file.read_text().replace("\\nAnswer:", "\\nA:"))
    assert task_fingerprint(load_suite(file).tasks[0]) != before


def test_listing_suites_and_drawing_a_result_import_nothing_heavy():
    code = (
        "import sys; from finetop.core.runtime.home import Home; from finetop.core.check.tasks import suite; "
        "from finetop.core.check.statistics import verdict; from finetop.core.protocol import check_result; "
        "from pathlib import Path; suite.suite_files(Home(Path('absent'))); "
        "print(*{'torch', 'lm_eval', 'numpy', 'scipy', 'datasets', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

"""Recipes for another machine: they need that machine's files, not the local ones."""

import pytest

from finetop.core.client.remote.recipe_files import own_paths, require_there
from finetop.core.errors import RecipeError
from finetop.core.protocol.messages.machine import PathFacts
from finetop.core.recipe.find import by_name
from finetop.core.recipe.load import load_recipe, recipe_from_mapping, resolve_text
from finetop.core.supervisor.requests.machine import look_at


@pytest.fixture
def rows(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt": "a", "completion": "b"}\n')
    return file


def loaded_of(path):
    return resolve_text(f"recipe: 1\nextends: lora\nname: x\ndata: {{train: [{{path: {path}}}]}}\n")


def test_a_file_that_will_not_do_is_named_with_its_line_and_the_way_out(rows):
    loaded = loaded_of(rows)
    missing = (
        "lab has no {0}; a run reads the files of the machine that it runs on. Copy it there: scp {0} lab:{0}"
    )
    for kind, size, says in (
        ("none", 0, missing),
        ("folder", 0, "on lab, {0} is not a file you can read"),
        ("other", 0, "on lab, {0} is not a file you can read"),
        ("file", 0, "on lab, {0} is empty"),
        ("file", 99, "{0} differs on lab: 99 bytes there, 35 here. Copy it again"),
    ):
        with pytest.raises(RecipeError) as caught:
            require_there(loaded, [PathFacts(str(rows), kind, size)], "lab")
        assert says.format(rows) in str(caught.value)
        assert str(caught.value).startswith("recipe:4: data.train[0].path: ")


def test_a_file_that_is_there_too_or_alone_will_do(rows):
    loaded = loaded_of(rows)
    assert own_paths(loaded) == [str(rows)]
    require_there(loaded, [look_at(path) for path in own_paths(loaded)], "lab")
    loaded = loaded_of("/only/there.jsonl")
    require_there(loaded, [PathFacts("/only/there.jsonl", "file", 5)], "lab")
    with pytest.raises(RecipeError, match="Give a path that exists"):
        require_there(loaded, [], "lab")


def test_files_of_finetop_itself_go_by_name_and_are_found_again_there():
    loaded = load_recipe("demo-lora")
    assert own_paths(loaded) == []
    require_there(loaded, [], "lab")
    sent = by_name(loaded.resolved)
    assert sent["data"]["train"][0]["path"] == "builtin:demo/support_train.jsonl"
    assert recipe_from_mapping(sent) == loaded.recipe


def test_looking_opens_nothing_and_never_fails(tmp_path, rows):
    assert look_at(str(rows)) == PathFacts(str(rows), "file", 35)
    assert look_at(str(tmp_path)).kind == "folder"
    assert look_at("/dev/null").kind == "other"
    for path in ("rows.jsonl", "", "/no/such", "/a\0b", "/" + "x" * 5000):
        assert look_at(path) == PathFacts(path, "none", 0)


def test_a_folder_of_rows_that_is_there_alone_will_do_and_of_a_pattern_its_folder(rows):
    require_there(loaded_of("/only/there"), [PathFacts("/only/there", "folder", 0)], "lab")
    pattern = loaded_of("/only/there/*.csv")
    assert own_paths(pattern) == ["/only/there"]
    require_there(pattern, [PathFacts("/only/there", "folder", 0)], "lab")
    with pytest.raises(RecipeError, match="lab has no /only/there"):
        require_there(pattern, [], "lab")
    folder = loaded_of(rows.parent)
    with pytest.raises(RecipeError, match="is not a folder you can read"):
        require_there(folder, [PathFacts(str(rows.parent), "file", 35)], "lab")


def test_the_files_that_a_command_names_must_be_there_and_of_the_same_size(tmp_path):
    for name in ("train.py", "conf.yaml", "empty.py", "prog"):
        (tmp_path / name).write_text("" if name == "empty.py" else "x = 1\n")
    run = "[python, -u, train.py, --config=conf.yaml, empty.py, nowhere.py, --output_dir, out]"
    text = f"recipe: 1\nname: x\ncommand: {{run: {run}, resume_command: [./prog, train.py]}}\n"
    loaded = resolve_text(text, (), tmp_path)
    there = {path: look_at(path) for path in own_paths(loaded)}
    names = ("", "/conf.yaml", "/empty.py", "/prog", "/train.py")
    assert sorted(there) == [f"{tmp_path}{name}" for name in names]
    require_there(loaded, list(there.values()), "lab")
    copy = f"Copy it there: scp {tmp_path}/train.py lab:{tmp_path}/train.py"
    for key, path, facts, says in (
        ("command.run[2]", tmp_path / "train.py", ("none", 0), copy),
        ("command.run[3]", tmp_path / "conf.yaml", ("file", 7), "7 bytes there, 6 here"),
        ("command.workdir", tmp_path, ("none", 0), f"scp -r {tmp_path} lab:{tmp_path}"),
    ):
        changed = {**there, str(path): PathFacts(str(path), *facts)}
        with pytest.raises(RecipeError) as caught:
            require_there(loaded, list(changed.values()), "lab")
        assert key in str(caught.value) and says in str(caught.value)
    there[str(tmp_path / "prog")] = PathFacts(str(tmp_path / "prog"), "file", 99)  # another build of it
    require_there(loaded, list(there.values()), "lab")

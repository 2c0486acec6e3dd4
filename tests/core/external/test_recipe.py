"""The recipe of a command: its name, its placeholders, and what it needs of the shell."""

import pytest

from finetop.core.errors import BadInput
from finetop.core.external.recipe import CommandRequest, command_recipe, name_of, with_environment
from finetop.core.recipe.command import arguments_of, argv, environment, output_in, output_of


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("python", "train.py"), "train"),
        (("torchrun", "--nproc", "2", "src/fine tune.py", "--output_dir", "out/my model"), "my-model"),
        (("accelerate", "launch", "-m", "my.trainer"), "my.trainer"),
        (("/opt/bin/mytrainer", "x"), "mytrainer"),
        (("python3.11", "-m", "my.trainer"), "my.trainer"),
        (("python",), "command"),
        (("python", "日本.py"), "command"),
        ((), "command"),
    ],
)
def test_a_run_is_named_after_its_output_its_script_or_its_program(words, name):
    assert name_of(words) == name


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (("x", "--output_dir", "out"), "out"),
        (("x", "--output-dir=out"), "out"),
        (("x", "output_dir=a=b"), "a=b"),
        (("x", "--training_args.output_dir", "out"), "out"),
        (("x", "--output_dir"), ""),
        (("x", "--output_dirs", "out"), ""),
        ((), ""),
    ],
)
def test_the_output_is_named_by_the_options_of_programs(words, output):
    assert output_in(words) == output


def command_of(tmp_path, *sets, words=("python", "t.py", "{lr}", "{other}", '{"a": 1}')):
    sets = ("command.values.lr=1e-4", *sets)
    return command_recipe(CommandRequest(words, tmp_path, output="out-{lr}"), sets).recipe.command


def test_placeholders_are_filled_in_and_other_braces_stay(tmp_path):
    command = command_of(tmp_path, "command.env={A: 'x{lr}', N: 2}")
    assert argv(command) == ["python", "t.py", "0.0001", "{other}", '{"a": 1}']
    assert output_of(command) == tmp_path / "out-0.0001"
    assert environment(command) == {"A": "x0.0001", "N": "2"}
    assert argv(command, resumed=True) == argv(command)  # without a resume_command it starts over
    again = command_of(tmp_path, "command.resume_command=[python, t.py, --resume, '{lr}']")
    assert argv(again, resumed=True) == ["python", "t.py", "--resume", "0.0001"]


def test_a_value_in_a_line_of_shell_is_one_word(tmp_path):
    sets = ("command.run=[]", "command.shell='train {data}'", "command.values={data: 'a b; rm x'}")
    assert argv(command_of(tmp_path, *sets, words=("x",))) == ["/bin/sh", "-c", "train 'a b; rm x'"]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("python t.py --lr 1e-4 --bf16 --o=o", {"0": "python", "1": "t.py", "lr": "1e-4", "bf16": "true", "o": "o"}),
        ("t --learning-rate -1 --files a b", {"0": "t", "learning_rate": "-1", "files": "a b"}),
        ("tune run x lr=3 optimizer.lr=4", {"0": "tune", "1": "run", "2": "x", "lr": "3", "optimizer.lr": "4"}),
        ("t --a 1 --a 2", {"0": "t", "a": "1 2"}),
    ],
)  # fmt: skip
def test_arguments_of_a_command_have_the_names_that_its_author_gave_them(line, named):
    assert arguments_of(line.split()) == named


def test_what_a_command_needs_of_its_shell_comes_with_it_under_its_own(tmp_path):
    resolved = command_recipe(CommandRequest(("sh", "x"), tmp_path), ["command.env={HF_HOME: /own}"]).resolved
    shell = {"PATH": "/bin:/usr/bin", "HF_HOME": "/shell", "HF_TOKEN": "hf_x", "VIRTUAL_ENV": "/v"}
    env = with_environment(resolved, shell)["command"]["env"]
    assert env == {"PATH": "/bin:/usr/bin", "VIRTUAL_ENV": "/v", "HF_HOME": "/own"}
    assert resolved["command"]["env"] == {"HF_HOME": "/own"}


def test_paths_of_a_watch_start_from_the_shell_not_from_the_program(tmp_path):
    shell, program = tmp_path / "shell", tmp_path / "program"
    (shell / "base").mkdir(parents=True)
    request = CommandRequest(("x",), shell, workdir=str(program), output="out", base="./base")
    recipe = command_recipe(request, ["check.target={path: test.jsonl}"]).recipe
    assert (recipe.command.workdir, output_of(recipe.command)) == (str(program), program / "out")
    assert recipe.model.id == str(shell / "base")
    assert recipe.check.target.path == str(shell / "test.jsonl")


def test_a_program_that_is_not_there_is_refused(tmp_path):
    for program in ("nosuchprogram", "./nosuch.sh", "/no/such"):
        resolved = command_recipe(CommandRequest((program,), tmp_path)).resolved
        with pytest.raises(BadInput, match=f"there is no program {program}"):
            with_environment(resolved, {"PATH": "/bin"})
    # one is found from the working folder
    (tmp_path / "own.sh").write_text("#!/bin/sh\n")
    (tmp_path / "own.sh").chmod(0o755)
    resolved = command_recipe(CommandRequest(("./own.sh",), tmp_path)).resolved
    assert with_environment(resolved, {})["command"]["run"] == ["./own.sh"]

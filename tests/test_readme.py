"""README and docs are true: commands run, links lead somewhere, the tree is the tree, recipes and settings load."""

import re
import shlex
import subprocess
from functools import cache
from pathlib import Path

import gguf_file
import numpy
import pytest
import yaml
from chat_server import chat_server, says
from made_elsewhere import write_adapter
from rig import SEVERAL, Rig
from sample_logs import choice_row, write_log
from transformers import AutoTokenizer

from finetop.core.commands.main import main, parser_of, verbs
from finetop.core.commands.shared.follow import JobProgress
from finetop.core.protocol.messages.queue import Hold, Release
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.recipe import home_settings
from finetop.core.recipe.load import load_recipe
from finetop.core.runtime.home import Home

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {"README.md": README} | {
    page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8")
    for page in sorted([*(ROOT / "docs").glob("*.md"), *(ROOT / ".github").glob("[A-Z]*.md")])
}
# Their commands run in this order, on one home: the README makes the runs that the others name.
RUN = [
    "README.md",
    *(f"docs/{name}.md" for name in ("check", "remedies", "recipe", "runs", "files", "queue")),
]


def commands(page: str) -> list[list[str]]:
    """List the commands of a page's shell blocks, word by word, without `finetop` and comments."""
    return commands_in(PAGES[page])


def commands_in(text: str) -> list[list[str]]:
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    return [
        shlex.split(line, comments=True)[1:] for line in blocks.splitlines() if line.startswith("finetop ")
    ]


FIVE_MINUTES = commands_in(README.partition("## Five minutes")[2].partition("\n## ")[0])


def fill(folder: Path, tiny_model: Path) -> None:
    """Make what the commands name: a base model, an adapter, a GGUF file, the sample logs of two models."""
    (folder / "base").symlink_to(tiny_model)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    words = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    writer = gguf_file.begin(
        folder / "tuned-q4_k_m.gguf", words, ["a b"], "gpt-2", special=[0], width=64, layers=2
    )
    writer.add_tensor("token_embd.weight", numpy.zeros((len(words), 64), "float32"))
    gguf_file.finish(writer)
    write_adapter(folder / "adapter", Path("base"), target_modules=["q_proj"])
    for name in ("base", "tuned"):
        rows = [choice_row(number, number % 10 > 0) for number in range(200)]
        write_log(folder / f"logs-of-{name}", "shops", rows)


@pytest.mark.slow
def test_every_command_runs_in_the_order_given(cold_rig, tiny_model, tmp_path, monkeypatch, warm):
    """On fake jobs: what is tried here is that each line is understood and answered."""
    cold_rig.settings = SEVERAL  # the runs of a sweep keep nobody waiting
    cold_rig.up()
    monkeypatch.setenv("FINETOP_HOME", str(cold_rig.home.root))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    fill(tmp_path / "here", tiny_model)
    type_the_five_minutes(cold_rig, monkeypatch)
    plans = set[str]()  # each takes a process with the training stack, and alters nothing
    for page in RUN:
        assert commands(page), page
        for words in commands(page)[len(FIVE_MINUTES) if page == "README.md" else 0 :]:
            if words[0] == "plan":
                if (plan := " ".join(words)) in plans:
                    continue
                plans.add(plan)
            run_on_fake_jobs(cold_rig, words, Path(page).stem)


def type_the_five_minutes(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Type the README's first commands one after the other, as a new user does: none waits without saying for what.

    Nothing starts before one of them shows what it waits for: what hangs in silence hangs here.
    """
    rig.ask(Hold())
    say, shown, typing = JobProgress.say, list[tuple[str, str]](), ""

    def said(self: JobProgress, line: str) -> None:
        say(self, line)
        shown.append((typing, line))
        if "queue release" in line:
            rig.ask(Release())

    with monkeypatch.context() as patch:
        patch.setattr(JobProgress, "say", said)
        with chat_server(says("It is on its way.")) as server:  # a fake run has no model to ask
            for words in FIVE_MINUTES:
                typing = words[0]
                side = ["--endpoint", server.url] if typing == "ask" else []
                assert main([word for word in words if not side or word != "--both"] + side) == 0, words
    assert {verb for verb, _ in shown} == {"check"}
    assert shown[0][1].startswith("waiting for demo-full-hot to train and be checked")
    assert "in the queue; nothing starts: the queue is held: finetop queue release" in shown[1][1]
    for name in ("demo-lora", "demo-full-hot"):
        wait_checked(rig, name)


def run_on_fake_jobs(rig: Rig, words: list[str], page: str) -> None:
    """Run a command. What it stops or pauses is a long run that is made for the page."""
    words = [word.replace("@40", "@10") for word in words]  # a fake job's last step
    verb = words[0]
    if verb in ("stop", "pause"):
        words[1] = f"to-{verb}-{page}"
        rig.submit(words[1], steps=5000, pause_s=0.02)
        rig.wait_state(words[1], "running")
    if verb in ("queue", "retry"):  # what was paused waits
        words = [f"to-pause-{page}" if word == "demo-lora" else word for word in words]
    if words[:2] == ["approaches", "approaches"]:
        words.append("--hold")  # else it would train six runs
    if verb == "plan":  # in the tiny model's 400 words the demo's rows are twice as long, and refused
        words += ["--set", "data.max_tokens=512"]
    assert main(words) == 0, (page, words)
    if verb == "pause":
        rig.wait_state(words[1], "queued")
    if verb == "run":
        wait_checked(rig, words[1])


def wait_checked(rig: Rig, name: str) -> None:
    rig.wait_state(name, "finished")
    rig.wait_changes(
        lambda: (row := rig.ask(GetRun(name)).row).check is not None and row.checking is None,
        lambda: rig.about(name),
    )


@pytest.mark.slow
def test_every_command_on_other_machines_runs(hosts, tmp_path, monkeypatch, capfd):
    hosts.host("lab")
    hosts.host("box")
    monkeypatch.chdir(tmp_path)
    assert commands("docs/remote.md")
    for words in commands("docs/remote.md"):
        assert main(words) == 0, (words, capfd.readouterr().err)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_is_shown_is_understood(page):
    for words in commands(page):
        while words[0] == "--on":
            del words[:2]
        own = words[: words.index("--")] if "--" in words else words  # a command's own words follow
        parser_of(words[0]).parse_args(own[1:])


def test_every_command_that_is_named_is_there_with_its_options():
    for page in set(PAGES) - {"docs/bad-inputs.md"}:  # that one shows slips
        prose = re.sub(r"```.*?```", "", PAGES[page], flags=re.DOTALL)
        for verb, rest in re.findall(r"`finetop ([a-z]+)\b([^`]*)`", prose):
            assert verb in verbs(), (page, verb, rest)
            options = parser_of(verb)._option_string_actions
            for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", rest):
                assert option in options, (page, verb, option)


def test_every_make_that_is_named_is_a_target():
    for page, text in PAGES.items():
        assert set(re.findall(r"(?:^|`)make (\w+)", text, re.MULTILINE)) <= targets(), page


def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("form", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda path: path.name)
def test_forms_and_workflows_are_yaml_and_name_what_is_there(form):
    text = form.read_text(encoding="utf-8")
    assert yaml.safe_load(text)
    assert set(re.findall(r"`finetop (\w+)", text)) <= set(verbs())
    assert set(re.findall(r"make (\w+)$", text, re.MULTILINE)) <= targets()


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 300


@cache
def headings(page: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", PAGES[page], flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def links(page: str) -> list[tuple[str, str]]:
    """List a page's relative links: the file, from the root, and the heading in it, if one is named."""
    found = re.findall(r"\]\((?!\w+:)([^)\s]+)\)", PAGES[page])
    parts = [link.partition("#") for link in found]
    folder = (ROOT / page).parent
    return [
        ((folder / file).resolve().relative_to(ROOT).as_posix() if file else page, anchor)
        for file, _, anchor in parts
    ]


def test_every_link_leads_somewhere():
    for page in PAGES:
        for file, anchor in links(page):
            assert (ROOT / file).is_file(), (page, file)
            assert not anchor or anchor in headings(file), (page, file, anchor)


def test_every_page_and_picture_is_found_from_the_readme():
    seen, ahead = set(), ["README.md"]
    while ahead:
        page = ahead.pop()
        if page not in seen:
            seen.add(page)
            ahead += [file for file, _ in links(page)] if page in PAGES else []
    assert seen >= set(PAGES) | {f"docs/{picture.name}" for picture in (ROOT / "docs").glob("*.svg")}


def test_pictures_are_pictures():
    for picture in (ROOT / "docs").glob("*.svg"):
        assert picture.read_text(encoding="utf-8").lstrip().startswith("<svg"), picture


def folders_shown() -> set[str]:
    """Read the folders in the README's tree: the top ones, those in core/, tui/ and tests/, and the features."""
    tree = next(
        block for block in re.findall(r"```text\n(.*?)```", README, re.DOTALL) if block.startswith("core/")
    )
    shown: set[str] = set()
    above: list[str] = []
    for indent, name in re.findall(r"^( *)([\w.]+)/ +\S", tree, re.MULTILINE):
        above[len(indent) // 2 :] = [name]
        shown.add("/".join(above))
    assert len(shown) == len(tree.splitlines())
    return shown


def folders_tracked() -> set[str]:
    """List the same folders as git tracks them."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("no git checkout")
    parents = [Path(name).parent.parts for name in listed.stdout.split("\0") if name]
    below = {"/".join(parts[:2]) for parts in parents if parts[1:] and parts[0] in ("core", "tui", "tests")}
    features = {"/".join(parts[:3]) for parts in parents if parts[2:] and parts[:2] == ("core", "features")}
    return {parts[0] for parts in parents if parts} | below | features


def test_the_tree_is_the_tree():
    assert folders_shown() == folders_tracked()


def test_the_recipe_loads(tmp_path):
    recipe = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)[1]
    path = tmp_path / "support-tone.yaml"
    path.write_text(recipe)
    assert load_recipe(str(path)).recipe.method.name == "lora"


@pytest.mark.parametrize("page", ["docs/queue.md", "docs/files.md"])
def test_the_settings_load(page, tmp_path):
    blocks = re.findall(r"```yaml\n(settings: .*?)```", PAGES[page], re.DOTALL)
    assert blocks
    for text in blocks:
        (tmp_path / "settings.yaml").write_text(text)
        loaded = home_settings.load(Home(tmp_path))
        assert (loaded.quiet_hours is not None) == ("quiet_hours" in text)


def test_the_mistake_reads_as_shown(tmp_path, monkeypatch, capsys):
    shown = re.search(r"```text\n(finetop: .*?)\n```", README, re.DOTALL)[1]
    (tmp_path / "support-tone.yaml").write_text(
        "recipe: 1\nname: support-tone\nextends: lora\nmethod:\n  rnk: 8\n"
    )
    monkeypatch.chdir(tmp_path)
    assert main(["run", "support-tone.yaml"]) == 2
    assert capsys.readouterr().err.strip() == shown


VARIABLE = re.compile(
    r'environ(?:\.get\(|\.pop\(|\[)\s*"(FINETOP_TEST_\w+)"|^SETUP = "(FINETOP_TEST_\w+)"', re.MULTILINE
)
OWN_PROCESSES = ("fake_", "fork_server", "outcome_record")  # told by tests, not by a person


def test_what_tests_can_be_told_is_listed():
    page = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
    files = [file for file in (ROOT / "tests").rglob("*.py") if not file.name.startswith(OWN_PROCESSES)]
    found = [VARIABLE.findall(file.read_text(encoding="utf-8")) for file in files]
    read = {name for names in found for pair in names for name in pair if name}
    assert len(read) > 10
    assert set(re.findall(r"`(FINETOP_TEST_\w+)`", page)) == read

"""`approaches` as typed: what is queued, left out and reused, and the table as a person reads it."""

import json

import pytest
from rig import write_recipe
from typed import refuses

from finetop.core.features.approaches import messages
from finetop.core.features.approaches.commands.approaches import print_answer
from finetop.core.features.approaches.messages import ApproachRow, Gap, Score


@pytest.fixture
def recipe(tmp_path):
    file = write_recipe(tmp_path, "tone")
    check = "{target: {path: rows.jsonl, metric: token_f1}, at_end: false, general: null}"
    file.write_text(file.read_text().replace("{at_end: false}", check))
    return str(file)


def _interrupted(seconds):
    raise KeyboardInterrupt


@pytest.mark.slow
def test_a_comparison_is_queued_once_and_told_of(rig, finetop, recipe):
    assert finetop("approaches")[1].startswith("No comparisons yet.")
    code, out, _ = finetop("approaches", recipe, "--only", "prompt,lora,retrieval", "--seeds", "2", "--hold")
    assert code == 0
    assert out.splitlines() == [
        *(f"tone-{name} is queued, held" for name in ("prompt", "lora-s1", "lora-s2")),
        "retrieval is left out: ask.documents names nothing to retrieve from",
        "3 of 3 runs are new. Results: finetop approaches tone",
    ]
    code, out, _ = finetop("approaches", recipe, "--only", "prompt,few-shot", "--hold", "--json")
    queued = json.loads(out)["comparison"]
    wanted = [("tone-few-shot", False), ("tone-prompt", True)]
    assert [(run["name"], run["was_there"]) for run in queued["runs"]] == wanted
    code, out, _ = finetop("approaches", "tone")
    assert code == 0 and "lora: under way, queued" in out and "retrieval: left out" in out
    code, out, _ = finetop("approaches")
    assert out.splitlines()[1].split()[:6] == ["tone", "token_f1", "3", "4", "0", "4"]
    assert "tone-prompt" in finetop("ls", "tag:approaches/tone")[1]
    rows = rig.home.root.parent / "rows.jsonl"
    rows.write_text(rows.read_text().replace("b", "c"))
    code, out, _ = finetop("approaches", recipe, "--only", "prompt", "--hold")
    assert "tone-prompt-2 is queued" in out, "the data is other data"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("finetop.core.features.approaches.commands.approaches.time.sleep", _interrupted)
        code, out, err = finetop("approaches", "tone", "--wait")
    assert (code, out) == (130, "0 of 4 runs are measured\n")
    assert err.splitlines()[-1] == "The runs keep running. Results: finetop approaches tone"

    odd, nothing = rows.with_name("odd.jsonl"), rows.with_name("nothing")
    odd.write_text('{"question": "a", "answer": "b"}\n')
    nothing.mkdir()
    (nothing / "a.md").touch()
    queued = finetop("ls")[1]
    cases = {
        "tome": "there is no comparison or recipe 'tome'. Did you mean tone?",
        "zzzzz": "there is no comparison or recipe 'zzzzz'. Options: tone, tone-2.",
        f"{recipe} --only lorra": "no approach 'lorra'",
        "--only lora": "which recipe?",
        f"{recipe} --set check.target=null": "check.target is not set",
        f"{recipe} --set 'data.train=[{{path: {odd}}}]'": "columns: {prompt: question, completion: answer}",
        f"{recipe} --set check.target.path={odd}": "odd.jsonl:1: no format fits a row with question, answer",
        f"{recipe} --set ask.documents=[{nothing}]": "can be used. nothing/a.md: is empty.",
    }
    refuses(finetop, cases, "approaches")
    assert finetop("ls")[1] == queued, "none of a comparison is queued where a part could not be read"
    only_asked = (recipe, "--only", "prompt", "--hold", "--set", f"data.train=[{{path: {odd}}}]")
    assert finetop("approaches", *only_asked)[0] == 0, "the prompt alone reads no training rows"


def test_the_table_and_the_advice_have_room_on_80_columns(capsys):
    def row(name, *, trains=True, gap=None, **facts):
        news = messages.News(
            "train", Score(0.1, 0, 0.2, 20), Score(0.8, 0.7, 0.9, 20), Gap(0.7, 0.6, 0.8, 20), 3000.0
        )
        return ApproachRow(
            name=name, about="", trains=trains, state="measured", target=Score(0.71, 0.62, 0.80, 83, 3, 0.04),
            gap=gap, is_best=gap is None, retained=messages.Retained(12.5, ["regressed", "ok", "ok"]), setup_s=2999.0,
            prompt_tokens=12345.0, query=messages.Price(12.34, 9.9, 27.4, "CPU", 8, 9, 0.83), rows_seen=16,
            rows_given=70, epochs_seen=0.2286, losses=(2.314, 1.2), memory_gib=78.9, news=news, **facts,
        )  # fmt: skip

    rows = [
        row("retrieval-lora"),
        row("lora", gap=Gap(-0.4, -0.5, -0.3, 83)),
        row("full", gap=Gap(-0.1, -0.3, 0.1, 83)),
    ]
    absent = ApproachRow(name="qlora", about="", trains=True, state="left out", message="no\x1b[2Jbits")
    rows, advice = [*rows, absent], [messages.Advice("price", "word " * 60)]
    print_answer(messages.ApproachesAnswer([], "kb", "token_f1", False, "base", "test.jsonl", rows, advice))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80 and "\x1b" not in out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "retrieval-lora 0.71 [0.62, 0.80] ±0.04 best -12.5 1/3 REGRESSED" in lines
    assert any(line.startswith("full ") and " ±0.20= " in line for line in lines)
    assert "lora 50.0 min 12,345 tok 78.9 GiB 0.10 to 0.80 50.0 min" in lines
    assert "lora 16 of 70 0.23 2.31 to 1.20 12 [10, 27]!" in lines
    assert "rows seen" in out and "CPU s a query" in out
    assert "! measured while other processes used the CPUs: retrieval-lora (83 %)" in out
    assert "in CPU seconds on one thread; costs whose ranges overlap don't differ" in " ".join(out.split())

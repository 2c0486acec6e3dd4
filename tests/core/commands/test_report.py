"""`finetop report` against the real supervisor on fake jobs: where it writes, and what it refuses."""

import json


def test_one_page_is_written_and_none_is_overwritten(finetop, rig, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = rig.submit("one", steps=20, lost=30, check=True)
    rig.wait_state(name, "finished")
    rig.wait_job(name, "check")
    code, out, _ = finetop("report", name)
    assert (code, out) == (0, f"{name} is told in {name}.html.\n")
    page = (tmp_path / f"{name}.html").read_text()
    assert page.startswith("<!DOCTYPE html>") and "REGRESSED" in page and page.count("<svg") == 2
    code, _, err = finetop("report", name)
    assert code == 2 and f"{name}.html is there already" in err and "--force" in err
    assert finetop("report", name, "--force")[0] == 0
    code, out, _ = finetop("report", name, "--to", "deep.md", "--json")
    assert json.loads(out) == {
        "schema": 1,
        "run": name,
        "format": "markdown",
        "file": str(tmp_path / "deep.md"),
    }
    assert (tmp_path / "deep.md").read_text().startswith(f"# {name}\n")
    code, out, _ = finetop("report", name, "--to", "-", "--markdown")
    assert code == 0 and out.startswith(f"# {name}\n")
    assert sorted(file.name for file in tmp_path.iterdir() if file.is_file()) == ["deep.md", f"{name}.html"]


def test_what_can_not_be_written_is_said_in_a_line(finetop, rig, tmp_path):
    name = rig.submit("one", steps=5)
    rig.wait_state(name, "finished")
    for words, said in (
        (["--to", str(tmp_path / "x.pdf")], "pdf is no format. End it in .html or .md."),
        (["--to", str(tmp_path / "none" / "x.md")], "there is no folder"),
        (["--to", str(tmp_path), "--markdown"], "is a folder"),
        (["--to", str(tmp_path / "x.html"), "--markdown"], "are two formats"),
        (["--to", "-", "--json"], "would mix"),
    ):
        code, _, err = finetop("report", name, *words)
        assert code == 2 and said in err and err.count("\n") == 1, err
    assert finetop("report", "nobody", "--to", str(tmp_path / "x.md"))[0] == 2
    assert not (tmp_path / "x.md").exists()

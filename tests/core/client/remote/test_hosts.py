"""Which machines `--on` means: what ssh accepts, what it must never be passed, and the names of hosts.yaml."""

from pathlib import Path

import pytest

from finetop.core.client.remote.hosts import Place, read_places, usual_places
from finetop.core.errors import BadInput
from finetop.core.runtime.home import HERE


def test_what_ssh_takes_is_a_place_with_a_short_label():
    for word, label in (
        ("lab", "lab"), ("ana@gpu-box-3.lab.example", "gpu-box-3"), ("ssh://ana@lab.example:2222", "lab"),
        ("10.77.3.2", "10.77.3.2"), ("ana@[fe80::1]", "fe80-1"), (".", HERE),
    ):  # fmt: skip
        (place,) = read_places([word], {})
        assert (place.label, place.word) == (label, word)
        assert place.destination == ("" if word == "." else word)


def test_what_ssh_could_take_for_something_else_is_refused_in_one_clean_line():
    for word in (
        "-oProxyCommand=touch /tmp/finetop-should-not-be", "-lab", "ana@-lab", "-ana@lab", "lab;id", "$(id)", "`id`",
        "lab lab", "lab\nlab", "lab|id", "lab'", "", "a" * 300, "lab\x1b]0;x\x07", "l\u202eab", "läb", "ana@lab/../x",
        "%h",
    ):  # fmt: skip
        with pytest.raises(BadInput) as caught:
            read_places([word], {})
        assert str(caught.value).isprintable()
        assert not Path("/tmp/finetop-should-not-be").exists()


def test_labels_are_unique_and_a_place_is_there_once():
    places = read_places(["ana@lab.one", "ben@lab.two", "."], {})
    assert [place.label for place in places] == ["lab", "ben-lab.two", HERE]
    with pytest.raises(BadInput, match="twice"):
        read_places(["lab", "lab"], {})


def test_options_hold_for_all_and_usual_places_have_their_own():
    facts = ("ana@gpu-box-3", "~/venv/bin/finetop", "/scratch/ana")
    usual = {"lab": Place("lab", *facts)}
    (place,) = read_places(["lab"], usual)
    assert (place.destination, place.command, place.home) == facts
    (place,) = read_places(["lab"], usual, command="conda run finetop", home="/other")
    assert (place.command, place.home) == ("conda run finetop", "/other")


def test_hosts_yaml_names_the_usual_ones(tmp_path):
    file = tmp_path / "hosts.yaml"
    assert usual_places(file) == {}
    file.write_text("lab: {ssh: ana@gpu-box-3, home: /scratch}\nbox:\n")
    lab, box = Place("lab", "ana@gpu-box-3", home="/scratch"), Place("box", "box")
    assert usual_places(file) == {"lab": lab, "box": box}


def test_a_faulty_hosts_yaml_is_one_line_with_its_place(tmp_path):
    for text, says in (
        ("lab: {shh: x}", "hosts.yaml:1: lab.shh is not a setting of a host. Did you mean ssh?"),
        ("lab: {ssh: -oProxyCommand=x}", "lab.ssh is '-oProxyCommand=x'; it must be a host"),
        ("lab: {ssh: 3}", "hosts.yaml:1: lab.ssh is 3; it must be text"),
        ("- lab", "is not a mapping of names"),
        ("lab: [1]", "lab is a list"),
        ("here: {}", "can't be the name of a host"),
        ("'a b': {}", "can't be the name of a host"),
        ("lab: {}\nlab: {}", "hosts.yaml:2"),
        ("lab: !!python/object/apply:os.system [id]", "hosts.yaml:1"),
        ("lab: {ssh: 'x", "hosts.yaml"),
    ):
        (tmp_path / "hosts.yaml").write_text(text)
        with pytest.raises(BadInput) as caught:
            usual_places(tmp_path / "hosts.yaml")
        assert says in str(caught.value)
        assert "\n" not in str(caught.value)

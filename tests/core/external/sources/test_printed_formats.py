"""What programs print, as they print it: each step that is printed is found, and nothing else is a number."""

import math

import pytest
from metric_files import put, read
from printed_else import NO_METRICS
from printed_formats import FORMATS

from finetop.core.external.sources.stdout import Printed


@pytest.mark.parametrize("name", FORMATS)
def test_each_printed_step_is_found_with_its_loss(tmp_path, name):
    printout = FORMATS[name]()
    points = read(Printed(put(tmp_path / "log.txt", printout.text), 0))
    found = {step: values[printout.metric] for step, values in reversed(points) if printout.metric in values}
    assert found.keys() == printout.losses.keys()
    assert all(math.isclose(found[step], loss, rel_tol=1e-3) for step, loss in printout.losses.items())


@pytest.mark.parametrize("name", NO_METRICS)
def test_configurations_prose_and_tables_of_other_things_are_no_numbers(tmp_path, name):
    assert read(Printed(put(tmp_path / "log.txt", NO_METRICS[name]), 0)) == []


@pytest.mark.parametrize("name", NO_METRICS)
def test_other_output_between_the_lines_adds_no_step(tmp_path, name):
    lines = [f"step {step} loss {step}.5\n" for step in range(1, 4)]
    points = read(Printed(put(tmp_path / "log.txt", NO_METRICS[name].join(("", *lines, ""))), 0))
    assert points == [(step, {"loss": step + 0.5}) for step in range(1, 4)]

"""budget.hours and budget.tokens: when they are used up, and that nothing starts if nothing is left."""

from types import SimpleNamespace

import pytest

from finetop.core.errors import BadInput
from finetop.core.recipe import schema
from finetop.core.runtime.stop_signal import Stop
from finetop.core.train.budget_callback import Budget


class Used:
    """What a meter has counted."""

    def __init__(self, hours=0.0, tokens=0.0):
        self.hours, self.tokens = hours, tokens

    def spent_s(self):
        return self.hours * 3600


def at(budget, step, *, loss=True):
    """End a step as the trainer does: first the step, then its numbers."""
    state = SimpleNamespace(global_step=step, max_steps=9)
    control = SimpleNamespace(should_training_stop=False, should_evaluate=True)
    budget.on_step_end(None, state, control)
    budget.on_log(None, state, control, logs={"loss": 1.0} if loss else {"eval_loss": 1.0})
    return control


def test_the_step_that_uses_up_the_tokens_is_the_last_and_nothing_is_measured_behind_it():
    stop, used = Stop(), Used(tokens=999)
    budget = Budget(schema.Budget(tokens=1000), used, stop)
    assert not at(budget, 1).should_training_stop
    used.tokens = 1024
    assert not at(budget, 2, loss=False).should_training_stop, "an evaluation is no step"
    control = at(budget, 2)
    assert (control.should_training_stop, control.should_evaluate) == (True, False)
    assert stop.reason == "budget.tokens (1,000) is used up: 1,024 tokens trained"
    done = Stop()
    assert not at(Budget(schema.Budget(tokens=1000), used, done), 9).should_training_stop, "it has finished"
    assert not done.reason


def test_hours_are_those_of_all_jobs_of_the_run():
    stop, used = Stop(), Used(hours=1.999)
    budget = Budget(schema.Budget(hours=2), used, stop)
    at(budget, 1)
    assert stop.reason == ""
    used.hours = 2.001
    at(budget, 2)
    assert stop.reason == "budget.hours (2) is used up: trained for 2 hours"
    asked = Stop("asked to stop")
    at(Budget(schema.Budget(hours=2), used, asked), 2)
    assert asked.reason == "asked to stop", "what came first"


@pytest.mark.parametrize(("budget", "used", "says"), [
    (schema.Budget(hours=2), Used(hours=2.5), r"budget\.hours \(2\) is used up: .* 2\.5 hours\. Raise it"),
    (schema.Budget(tokens=10), Used(tokens=10), r"budget\.tokens \(10\) is used up: 10 tokens trained\. Raise it"),
])  # fmt: skip
def test_to_go_on_with_nothing_left_is_refused(budget, used, says):
    with pytest.raises(BadInput, match=says):
        Budget(budget, used, Stop()).on_train_begin(None, None, None)
    Budget(schema.Budget(), used, Stop()).on_train_begin(None, None, None)

"""`finetop open RUN`."""

import sys

from terminal import Terminal


def test_the_app_begins_on_a_run_and_goes_back_to_the_list(rig):
    name = rig.submit("watched", steps=3)
    rig.wait_state(name, "finished")
    terminal = Terminal([sys.executable, "-m", "finetop.tui.main", "open", name], rig.home.root)
    try:
        assert "did it forget?" not in terminal.wait_text("metrics")
        terminal.keys("\x1b")
        assert name in terminal.wait_text("did it forget?")
    finally:
        terminal.close()


def test_what_can_not_be_opened_is_said_in_a_line(command):
    no_app = "finetop: the app is not available here. `finetop show nobody` prints the run.\n"
    assert command("open", "nobody") == (4, "", no_app)
    assert command("open", "nobody", "--json")[0] == 2

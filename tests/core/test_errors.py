"""What a library's error says, in one line."""

import pytest

from finetop.core.errors import first_line


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError("  \n"), "ValueError"),
        (ValueError(), "ValueError"),
        (ValueError("Field 'x':\n    TypeError: no int\n more"), "Field 'x': TypeError: no int"),
        (KeyError("model"), "'model' is missing"),
        (ValueError("x" * 999), "x" * 300),
    ],
)  # fmt: skip
def test_an_error_in_one_line(error, says):
    assert first_line(error) == says

"""15 rows that can't be learned from: the objective, the file's lines, and the message."""

from __future__ import annotations

from bad_inputs.example import Bad

GOOD = '{"messages": [{"role": "user", "content": "When?"}, {"role": "assistant", "content": "At nine."}]}\n'


def row(what: str, line: str | bytes, *says: str, kind: str = "conversation") -> Bad:
    """A bad row after a good one."""
    return Bad(what, (kind, line), ("rows.jsonl:2:", *says))


EXAMPLES = [
    row("cut off", '{"messages": [{"role": "user", "con', "is not JSON", "one JSON object a line"),
    row("a list", '["When?", "At nine."]', "a list, not an object", '{"messages"'),
    row("not UTF-8", b'{"messages": "caf\xe9"}', "not UTF-8", "iconv -f cp1252 -t utf-8 rows.jsonl"),
    row("NaN", '{"messages": [], "score": NaN}', "is not JSON", "write null"),
    row("nested 5,000 deep", '{"messages": ' + "[" * 5000 + "]" * 5000 + "}", "nested too deeply", "flat object"),
    row("over 8 MiB", '{"messages": "' + "x" * (9 << 20) + '"}', "longer than 8 MiB", "split it"),
    row("another shape", '{"question": "When?", "reply": "At nine."}', "messages is missing", '{"messages"'),
    row("no turns", '{"messages": []}', "messages must be a list of turns", '"role": "user"'),
    row("a role that is none", '{"messages": [{"role": "boss", "content": "Hi"}]}',
        "messages[0].role is 'boss'", "system, user, assistant, tool"),
    row("a role as deep as it may be", '{"messages": [{"role": ' + "[" * 900 + "]" * 900 + "}]}",
        "messages[0].role", "system, user, assistant, tool"),
    row("a number for a text", '{"messages": [{"role": "user", "content": 9}]}',
        "messages[0].content is a number", "quotes"),
    row("a blank answer", '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": " "}]}',
        "messages[1].content is empty", "remove the row"),
    row("ends with a question",
        '{"messages": [{"role": "assistant", "content": "Hi"}, {"role": "user", "content": "?"}]}',
        "messages[1] is a turn of user", "End with the assistant's turn"),
    row("a preference for the same", '{"prompt": "Hi", "chosen": "Ho", "rejected": "Ho"}',
        "chosen and rejected are the same", "Remove the row", kind="preference"),
    row("a label that is none", '{"prompt": "Hi", "completion": "Ho", "label": "good"}',
        "label is 'good'", "true for a good answer", kind="labelled"),
]  # fmt: skip

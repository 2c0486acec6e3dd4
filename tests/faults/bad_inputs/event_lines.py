"""40 lines that are no events, each between two good ones, and the message."""

from __future__ import annotations

from bad_inputs.example import Bad

RESULT = '{"verdict":"ok","reason":"","margin":%s,"items_used":9,"items_total":9%s}'


def line(what: str, text: str | bytes, *says: str) -> Bad:
    return Bad(
        what,
        text.encode() if isinstance(text, str) else text,
        ("1 line of jobs/", "could not be read: byte ", *says),
        code=0,
    )


def event(what: str, told: str, *says: str) -> Bad:
    """A whole line around something that is no event."""
    return line(what, f'{{"n":2,"t":1.5,"e":{told}}}', *says)


def metrics(what: str, told: str, *says: str) -> Bad:
    return event(what, f'{{"type":"metrics",{told}}}', *says)


def verdict(what: str, margin: str, more: str, *says: str) -> Bad:
    return event(what, f'{{"type":"verdict","step":1,"result":{RESULT % (margin, more)}}}', *says)


GOOD = '{"n":%d,"t":1.5,"e":{"type":"metrics","step":%d,"values":{"loss":0.5}}}\n'

EXAMPLES = [
    line("noise", b"\x9b\xff\xfe\x00\x80", "malformed"),
    line("NULs that a power cut left", b"\0" * 512, "malformed"),
    line("cut off in a number", '{"n":2,"t":1', "truncated"),
    line("cut off in a text", '{"n":2,"t":1.5,"e":{"type":"met', "truncated"),
    line("two in one line", (GOOD % (2, 2)).strip() + (GOOD % (2, 2)).strip(), "trailing"),
    line("one inside another", '{"n":2,"t":1.5,"e":{"type"' + (GOOD % (2, 2)).strip(), "malformed"),
    line("a line of the log", "step 2: loss 0.5000", "malformed"),
    line("a mapping as Python writes it", "{'n': 2, 't': 1.5, 'e': {}}", "malformed"),
    line("a comma too many", '{"n":2,"t":1.5,"e":{"type":"resumed","step":1,},}', "trailing comma"),
    line("UTF-16", (GOOD % (2, 2)).strip().encode("utf-16"), "malformed"),
    line("a byte-order mark", b"\xef\xbb\xbf" + (GOOD % (2, 2)).strip().encode(), "malformed"),
    line("half a character", '{"n":2,"t":1.5,"e":{"type":"alarm","kind":"x","step":1,"text":"\\ud800"}}', "truncated"),
    line("a control character in a text",
         b'{"n":2,"t":1.5,"e":{"type":"alarm","kind":"x","step":1,"text":"\x1b[2J"}}', "invalid character"),
    line("5 MiB", '{"n":2,"t":1.5,"e":{"type":"phase","name":"' + "x" * (5 << 20) + '"}}', "longer than 4 MiB"),
    line("a list", "[2, 1.5, {}]", "object"),
    line("nothing", "null", "object"),
    line("an empty mapping", "{}", "`n`"),
    line("no number", '{"t":1.5,"e":{"type":"resumed","step":1}}', "`n`"),
    line("number 0", '{"n":0,"t":1.5,"e":{"type":"resumed","step":1}}', ">= 1", "$.n"),
    line("a number as text", '{"n":"2","t":1.5,"e":{"type":"resumed","step":1}}', "$.n"),
    line("a number of 30 digits", '{"n":1' + "0" * 29 + ',"t":1.5,"e":{"type":"resumed","step":1}}', "$.n"),
    line("a number far ahead", '{"n":999999999999,"t":1.5,"e":{"type":"resumed","step":1}}', "999999999999"),
    line("a moment as text", '{"n":2,"t":"now","e":{"type":"resumed","step":1}}', "$.t"),
    line("a moment that no clock shows", '{"n":2,"t":1e300,"e":{"type":"resumed","step":1}}', "$.t"),
    event("no type", '{"step":1}', "type", "$.e"),
    event("a type that is none", '{"type":"telepathy"}', "telepathy", "$.e"),
    metrics("a step as text", '"step":"2","values":{"loss":0.5}', "$.e.step"),
    metrics("a step below 0", '"step":-2,"values":{"loss":0.5}', ">= 0", "$.e.step"),
    metrics("a step above all", '"step":2147483648,"values":{"loss":0.5}', "$.e.step"),
    metrics("NaN", '"step":2,"values":{"loss":NaN}', "malformed"),
    metrics("a value beyond all numbers", '"step":2,"values":{"loss":1e400}', "out of range"),
    metrics("a value that no mean can hold", '"step":2,"values":{"loss":1e308}', "1e+290", "$.e.values"),
    metrics("a value as text", '"step":2,"values":{"loss":"0.5"}', "$.e.values"),
    metrics("a metric without a name", '"step":2,"values":{"":0.5}', "length >= 1"),
    metrics("5,000 metrics", '"step":2,"values":{' + ",".join(f'"m{i}":1' for i in range(5000)) + "}", "2000"),
    event("a checkpoint that leads out",
          '{"type":"checkpoint","step":1,"path":"../../../etc","size_bytes":1,"kind":"full"}', "$.e.path"),
    event("a check without a verdict", '{"type":"verdict","step":1,"result":{}}', "verdict"),
    verdict("a check whose margin is no number in points", "1e307", "", "too large"),
    verdict("a check nested 900 deep", "0.03", ',"models":{"base":{"x":' + "[" * 900 + "]" * 900 + "}}", "deeper"),
    event("scores of a third model", '{"type":"scores","model":"teacher","key":"k","task":"t","items":[]}', "teacher"),
]  # fmt: skip

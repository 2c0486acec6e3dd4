"""Samples during training: their progress is reported while they are generated."""

from finetop.core.protocol.events import Phase
from finetop.core.train import samples


class Events:
    def __init__(self):
        self.written = []

    def write(self, event):
        self.written.append(event)


def test_how_many_tokens_are_written_is_said_once_in_a_while(monkeypatch):
    events, now = Events(), [100.0]
    monkeypatch.setattr(samples.time, "monotonic", lambda: now[0])
    tell = samples.progress_reporter(events, 32)
    for done, passed in ((1, 0.5), (2, 1.1), (3, 1.2), (12, 2.5)):
        now[0] = 100.0 + passed
        tell(done)
    assert events.written == [Phase("generating samples", float(done), 32.0, "tokens") for done in (2, 12)]

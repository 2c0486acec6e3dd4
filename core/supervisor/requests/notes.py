"""Tags and notes of runs, written by users."""

from __future__ import annotations

from finetop.core.errors import BadInput
from finetop.core.protocol.messages.notes import Note, NoteAnswer, Tag, TagAnswer
from finetop.core.protocol.tags import MOST, require_note, require_tag
from finetop.core.runtime import secrets
from finetop.core.store import notes, runs
from finetop.core.store.database import transaction
from finetop.core.supervisor.state import Supervisor


def tag(supervisor: Supervisor, ask: Tag) -> TagAnswer:
    """Add tags to a run and remove some. Raises NotFound, BadInput."""
    connection = supervisor.connection
    run_id, name = runs.find_run(connection, ask.run)
    before = notes.tags_of(connection, run_id)
    candidates = dict.fromkeys([*before, *map(require_tag, ask.add)])
    now = [text for text in candidates if text not in ask.drop]
    if len(now) > MOST:
        raise BadInput(f"{name} would have {len(now)} tags; the limit is {MOST}.", hint="Remove some: -tag.")
    if now != before:
        with transaction(connection):
            notes.set_tags(connection, run_id, now)
            runs.set_rank(connection, run_id)  # a tagged run may no longer need attention
        supervisor.touch([run_id])
    added = [text for text in now if text not in before]
    return TagAnswer(name, now, added, [text for text in before if text not in now])


def note(supervisor: Supervisor, ask: Note) -> NoteAnswer:
    """Set a run's note. Raises NotFound, BadInput."""
    connection = supervisor.connection
    run_id, name = runs.find_run(connection, ask.run)
    before, now = notes.note_of(connection, run_id), require_note(ask.text)
    secrets.require_none(now, "the note", hint="Notes are shown to all who see the run: leave it out.")
    if now != before:
        with transaction(connection):
            notes.set_note(connection, run_id, now)
        supervisor.touch([run_id])
    return NoteAnswer(name, now, before)


ANSWERS = {Tag: tag, Note: note}

"""The supervisor's jobs in Slurm's queue, kept by a thread: Slurm may block, the supervisor must not.

One squeue every few seconds lists all jobs at once; the longer nothing has changed or been requested, the less often.
A batch script that got no answer from sbatch is looked up by its mark before it is submitted again, so a lost answer
never makes two jobs of one.
"""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from finetop.core.runtime.crash_points import abort_at
from finetop.core.runtime.files import write_whole
from finetop.core.supervisor.launchers import slurm_commands, slurm_record
from finetop.core.supervisor.launchers.launcher import Attempt, Batch
from finetop.core.supervisor.launchers.local import exit_of, locked
from finetop.core.supervisor.launchers.slurm_batch import Group, Key, Order, options_of, script_of
from finetop.core.supervisor.launchers.slurm_commands import CommandFailed, Listed, NoAnswer, Node
from finetop.core.supervisor.launchers.slurm_node import not_started
from finetop.core.supervisor.launchers.slurm_record import Record
from finetop.core.wording import slurm as words

LOOK_S = 3.0  # between two looks at all jobs
QUIET_SHARE = 0.05  # pause between looks, as a share of the time since the last change
QUIET_S = 30.0  # longest pause
AGAIN_S = 10.0  # before a batch script is submitted again after no answer
FULL_S = 60.0  # before retrying a controller that accepts no more jobs now
GATHER_S = 1.0  # after the last run of a sweep arrived, its array is submitted
FORGET_S = 120.0
NODES_S = 20.0  # between two looks at the nodes, while they are requested


@dataclass(frozen=True)
class View:
    """All jobs as one squeue listed them, and when it began (monotonic)."""

    began: float
    jobs: Mapping[str, Listed]
    by_mark: Mapping[str, Sequence[Listed]]

    def job_of(self, record: Record) -> Listed | None:
        """Return the job that a record names, unless a restarted controller gave its id to another job."""
        job = self.jobs.get(record.id)
        return job if job is not None and record.listed_as(job.id, job.comment) else None


@dataclass
class Unsure:
    """An attempt of an earlier supervisor that may or may not be in the queue: only its mark tells."""

    attempt: Attempt
    record: Record
    since: float = field(default_factory=time.monotonic)


class SlurmQueue:
    """The thread, its newest view, and the orders not yet in the queue."""

    def __init__(self) -> None:
        self.view: View | None = None
        self.heard_at: float | None = None  # by the wall clock
        self.is_silent = False
        self.was_silent_at = -math.inf  # when it last did not answer (monotonic)
        self.records: dict[Key, Record] = {}  # of live attempts; the thread fills in the ids
        self.missing: set[Key] = set()  # attempts that never got into the queue
        self.nodes: list[Node] = []
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._new: list[Order] = []
        self._groups: list[Group] = []
        self._unsure: dict[Key, Unsure] = {}
        self._ending: dict[Key, int] = {}  # attempts to be ended, and the signal to record
        # with options of scancel, and the time of the request (monotonic)
        self._cancels: dict[tuple[Record, *tuple[str, ...]], float] = {}
        self._states: dict[str, str | None] = {}  # from the accounting, of jobs that squeue no longer lists
        self._watched: dict[Key, float] = {}  # when an attempt was last watched (monotonic)
        self._nodes_asked = self._nodes_at = -NODES_S
        self._looked_at = -math.inf
        self._changed_at = time.monotonic()  # when something last changed in the queue, or was requested
        self._is_begun = False

    # Called by the launcher

    def add(self, attempt: Attempt, batch: Batch, variables: Mapping[str, str], record: Record) -> None:
        """Submit an attempt that is claimed and whose record is written."""
        order = Order(attempt, batch, variables, record.mark, time.monotonic())
        with self._lock:
            self.records[order.key] = record
            self._watched[order.key] = order.came
            self._new.append(order)
        self.hurry()
        self._begin()

    def watch(self, live: Mapping[Key, tuple[Attempt, Record]]) -> None:
        """Register live attempts; those without a Slurm id are looked up."""
        now = time.monotonic()
        with self._lock:
            for key, (attempt, record) in live.items():
                self._watched[key] = now
                stored = self.records.setdefault(key, record)
                is_under_way = stored.id or stored.refused or key in self.missing or self.because(key)
                if not is_under_way:
                    self._unsure[key] = Unsure(attempt, stored)
                    self.hurry()
        if live:
            self._begin()

    def _forget(self) -> None:
        """Forget attempts that have not been watched for a while: they have ended."""
        with self._lock:
            since = time.monotonic() - FORGET_S
            for key in [key for key, at in self._watched.items() if at < since]:
                for table in (self._watched, self.records, self._ending):
                    table.pop(key, None)
                self.missing.discard(key)

    def because(self, key: Key) -> str:
        """Return why an attempt is not in the Slurm queue yet; empty if it is, or never will be."""
        with self._lock:
            if any(order.key == key for order in self._new):
                return "is being submitted to Slurm"
            for group in self._groups:
                if any(order.key == key for order in group.orders):
                    return group.because or "is being submitted to Slurm"
            return self.silence() or "is being looked up in Slurm" if key in self._unsure else ""

    def hurry(self) -> None:
        """Return to frequent looks: something is about to change, or just did."""
        self._changed_at = time.monotonic()

    def end(self, key: Key, number: int) -> None:
        """End a waiting attempt: withdraw it if it was not submitted yet, else cancel it."""
        with self._lock:
            self._ending[key] = number
        self.hurry()
        self._wake.set()

    def cancel(self, record: Record) -> None:
        """Cancel a job once a new look shows that its id has not been reused."""
        with self._lock:
            self._cancels.setdefault((record,), time.monotonic())
        self.hurry()
        self._wake.set()

    def state_of(self, job: str) -> str | None:
        """Return the final state of a job that squeue no longer lists; '' if unknown, None if not looked up yet."""
        with self._lock:
            self._states.setdefault(job, None)
            return self._states[job]

    def ask_nodes(self) -> list[Node]:
        """Return the nodes as last heard, and request a new look."""
        self._nodes_asked = time.monotonic()
        self._begin()
        return self.nodes

    @property
    def is_asked(self) -> bool:
        """Whether jobs or nodes are being watched."""
        return bool(self.records) or time.monotonic() - self._nodes_asked < 3 * NODES_S

    def silence(self) -> str:
        """Return since when Slurm has not answered, as a message; '' while it does."""
        return words.silent(self.heard_at) if self.is_silent else ""

    # The thread

    def _begin(self) -> None:
        if not self._is_begun:
            self._is_begun = True
            threading.Thread(target=self._run, name="slurm", daemon=True).start()
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.wait(min(1.0, LOOK_S))
            self._wake.clear()
            try:
                self.round()
            except Exception:  # a bug, or a disk error: the next round tries again
                traceback.print_exc(file=sys.stderr)
                time.sleep(1.0)

    def round(self) -> None:
        """Do what is due: withdraw, look, find, submit, cancel."""
        self._forget()
        self._take_back()
        now = time.monotonic()
        with self._lock:
            is_wanted = bool(self.records or self._groups or self._unsure or self._cancels)
            tried = [group.tried_at or 0.0 for group in self._groups]
            since = [unsure.since for unsure in self._unsure.values()]
            newest = max([0.0, *tried, *since, *self._cancels.values()])
        pause = max(LOOK_S, min(QUIET_S, QUIET_SHARE * (now - self._changed_at)))
        is_old = self.view is None or now - self._looked_at >= pause
        has_asked = not self.is_silent and self.view is not None and self.view.began <= newest
        if is_wanted and (is_old or has_asked):
            self.refresh()
        self._find()
        self._gather()
        for group in list(self._groups):
            self._hand_over(group)
            if time.monotonic() - now > max(1.0, LOOK_S):
                break  # look first: each submission takes 30 ms, and there may be hundreds
        self._cancel_due()
        self._ask_accounts()
        pause = LOOK_S if self.is_silent else NODES_S
        if now - self._nodes_asked < 3 * NODES_S and now - self._nodes_at >= pause:
            self._look_at_nodes()

    def refresh(self) -> bool:
        """List all jobs. Return False if Slurm does not answer."""
        began = self._looked_at = time.monotonic()
        try:
            listed = slurm_commands.listing()
        except (NoAnswer, CommandFailed):
            self._note_silence()
            return False
        by_mark: dict[str, list[Listed]] = {}
        for job in listed:
            if job.comment.startswith(slurm_record.MARK):
                by_mark.setdefault(job.comment.rpartition(" ")[2], []).append(job)
        if self.is_silent or self.view is None or by_mark != self.view.by_mark:
            self.hurry()
        self.view = View(began, {job.id: job for job in listed}, by_mark)
        self.heard_at, self.is_silent = time.time(), False
        self._cancel_doubles(self.view)
        return True

    def _note_silence(self) -> None:
        if not self.is_silent:
            self.hurry()
        self.is_silent, self.was_silent_at = True, time.monotonic()

    def _cancel_doubles(self, view: View) -> None:
        """Cancel a second job of an attempt, which a lost answer may have made: it would have nothing to do."""
        with self._lock:
            for record in self.records.values():
                for job in view.by_mark.get(record.mark, ()) if record.id else ():
                    if not job.is_over and job.id.partition("_")[0] != record.id.partition("_")[0]:
                        self.cancel(msgspec.structs.replace(record, id=job.id))

    def _find(self) -> None:
        """Look up attempts of an earlier supervisor by their marks."""
        view = self.view
        if view is None:
            return
        for key, unsure in list(self._unsure.items()):
            if view.began <= unsure.since:
                continue
            record = unsure.record
            jobs = [job for job in view.by_mark.get(record.mark, ()) if record.listed_as(job.id, job.comment)]
            job = min(jobs, key=lambda job: job.is_over, default=None)
            if job is not None:
                self._know(unsure.attempt, msgspec.structs.replace(record, id=job.id))
            else:
                self.missing.add(key)
            with self._lock:
                self._unsure.pop(key, None)

    def _know(self, attempt: Attempt, record: Record) -> None:
        """Store an attempt's Slurm job; if the write fails, its mark finds it again."""
        with self._lock:
            self.records[(attempt.job, attempt.number)] = record
        slurm_record.write(attempt.folder, record)

    def _take_back(self) -> None:
        """End attempts that were withdrawn before they were submitted."""
        with self._lock:
            ending = dict(self._ending)
            back = [order for order in self._new if order.key in ending]
            self._new = [order for order in self._new if order.key not in ending]
            for group in self._groups:
                if group.tried_at is None:
                    back += [order for order in group.orders if order.key in ending]
                    group.orders = [order for order in group.orders if order.key not in ending]
            self._groups = [group for group in self._groups if group.orders]
        for order in back:
            end_unstarted(order.attempt, ending[order.key])

    def _gather(self) -> None:
        """Group new orders: a sweep's runs once all have arrived, others at once."""
        now = time.monotonic()
        with self._lock:
            arrays: dict[tuple[object, ...], list[Order]] = {}
            for order in self._new:
                array_key = (order.batch.array, order.batch.options) if order.batch.array else (order.key,)
                arrays.setdefault(array_key, []).append(order)
            for orders in arrays.values():
                if orders[0].batch.array and now - max(order.came for order in orders) < GATHER_S:
                    continue
                self._new = [order for order in self._new if order not in orders]
                self._groups.append(Group(orders, orders[0].mark))

    def _hand_over(self, group: Group) -> None:
        """Submit a group once."""
        now = time.monotonic()
        if self.is_silent:
            group.because = self.silence()
        if self.is_silent or now < group.not_before:
            return
        if group.tried_at is not None:
            if self.view is None or self.view.began <= group.tried_at:
                group.because = self.silence() or group.because
                return  # unknown whether it is in the queue
            if self._adopt(group):
                return
            group.tried_at = None  # it is not in the queue
            self._take_back()
            if group not in self._groups:
                return
        for at, order in enumerate(group.orders):
            index = at if len(group.orders) > 1 else None
            self._know(order.attempt, Record(order.attempt.number, group.mark, index))
        abort_at("slurm-recorded")
        options, script = options_of(group), script_of(group.orders)
        try:
            number = slurm_commands.submit(options, script, group.orders[0].variables)
        except NoAnswer:
            self._note_silence()
            group.tried_at, group.not_before = time.monotonic(), now + AGAIN_S
            group.because = self.silence()
            return
        except CommandFailed as error:
            self._not_taken(group, str(error))
            return
        abort_at("slurm-answered")
        self._done(group, number)

    def _not_taken(self, group: Group, refusal: str) -> None:
        """Handle a group that sbatch refused, or seems to have: a wrapper may have lost its answer."""
        group.tried_at = time.monotonic()
        if not self.refresh():
            group.not_before, group.because = time.monotonic() + AGAIN_S, self.silence()
        elif self._adopt(group):
            return
        elif words.may_pass(refusal):
            group.tried_at, group.not_before = None, time.monotonic() + FULL_S
            group.because = f"waits: Slurm accepts no more of your jobs now ({refusal})"
        else:
            for order in group.orders:
                record = msgspec.structs.replace(self._record_of(order, group), refused=refusal)
                self._know(order.attempt, record)
            self._drop(group)

    def _adopt(self, group: Group) -> bool:
        """Adopt a group that its mark shows to be in the queue. Return whether it is there."""
        assert self.view is not None
        jobs = self.view.by_mark.get(group.mark, ())
        if not jobs:
            return False
        newest = min(jobs, key=lambda job: job.is_over)
        self._done(group, newest.id.partition("_")[0])
        return True

    def _done(self, group: Group, number: str) -> None:
        with self._lock:
            mark_by_number = {record.id.partition("_")[0]: record.mark for record in self.records.values()}
        # a restarted controller has forgotten to whom it gave that id
        if mark_by_number.get(number, group.mark) != group.mark:
            self.was_silent_at = time.monotonic()
        for order in group.orders:
            record = self._record_of(order, group)
            id_ = number if record.index is None else f"{number}_{record.index}"
            self._know(order.attempt, msgspec.structs.replace(record, id=id_))
        self._drop(group)

    def _record_of(self, order: Order, group: Group) -> Record:
        with self._lock:
            return self.records.get(order.key) or Record(order.attempt.number, group.mark)

    def _drop(self, group: Group) -> None:
        with self._lock:
            self._groups = [other for other in self._groups if other is not group]

    def _cancel_due(self) -> None:
        """Cancel waiting jobs that must end, and all other requested jobs."""
        view = self.view
        if view is None:
            return
        with self._lock:
            for key in self._ending:
                record = self.records.get(key)
                job = view.job_of(record) if record is not None else None
                if record is not None and job is not None and job.waits:
                    self._cancels.setdefault((record, "--state=PENDING"), view.began)
            due = dict(self._cancels)
        for (record, *options), asked_at in due.items():
            is_there = view.job_of(record) is not None
            if not is_there and view.began <= asked_at:
                continue  # the next look decides
            try:
                if is_there:
                    slurm_commands.cancel(record.id, *options)
            except NoAnswer:
                self._note_silence()
                return  # the next round tries again
            except CommandFailed:
                pass  # it is gone
            with self._lock:
                self._cancels.pop((record, *options), None)

    def _ask_accounts(self) -> None:
        with self._lock:
            open_ones = [job for job, state in self._states.items() if state is None]
        for job in open_ones:
            try:
                self._states[job] = slurm_commands.ended(job)
            except NoAnswer:
                return

    def _look_at_nodes(self) -> None:
        self._nodes_at = time.monotonic()
        try:
            self.nodes = slurm_commands.nodes()
            self.heard_at, self.is_silent = time.time(), False
        except (NoAnswer, CommandFailed):
            self._note_silence()


def end_unstarted(attempt: Attempt, number: int) -> None:
    """Record that an attempt ended before it began, so that a late keeper exits. Raises OSError."""
    with locked(attempt.folder) as is_free:
        if is_free and exit_of(attempt.folder, attempt.number) is None:
            facts = not_started(attempt.number, signal.Signals(number))
            write_whole(attempt.folder / "exit.json", msgspec.json.encode(facts))

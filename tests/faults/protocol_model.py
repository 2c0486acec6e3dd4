"""A model of how the supervisor, keepers, job, disk and store of one run interact, step by step.

It has no processes: a state is a tuple, and `steps` yields everything that can happen next. A step is one effect that
others can see, or one look at what others do; between any two of them every process may die. What a restart of the
supervisor forgets is in `Supervisor`, what a restart of the machine forgets in `Keeper` and `Process`.

One assumption about time is made, at `ten_seconds`: within the 10 s after which a start is given up, a started keeper
has locked its job and been seen, or died; and a job whose keeper was killed is dead. Locking takes 50 ms, the kernel
needs microseconds, and a look is taken twice a second. `Rules(late_keepers=True)` drops the first half of it: keepers
come whenever they like, and only orphans are dead before the supervisor's next step.

Left out: the process that waits for the next job (its keeper locks as others do), a keeper that does not answer (it is
killed after 15 s, like any keeper's death), the queue's order, GPUs, and failures that a job reports itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

MOST_STARTS = 3  # as in core/supervisor/tick.py
FREE, SUPERVISOR = 0, -1  # the holder of a job's lock; otherwise a keeper's attempt
WAITING, RUNNING = "queued", "running"
Events = tuple[tuple[int, str], ...]  # a job's file: attempt and event; the position is the number


class Job(NamedTuple):
    """One job of the run: its row in the store, its folder, and the state of its process."""

    word: str = WAITING
    attempt: int = 0
    asked: str = ""
    held: bool = False
    said: str = ""  # the job's own ended event, if ingested
    read: int = 0  # how far the store has read the events
    taken: Events = ()
    by: str = "person"  # who queued it: a person, a retry, a pause
    attempt_file: int = 0
    record: tuple[int, int] | None = None  # keeper.json: attempt, boot
    exit: tuple[int, str] | None = None  # exit.json: attempt, how it ended
    events: Events = ()
    lock: int = FREE
    ran: int = 0  # the attempt whose process began last
    outcome: str = ""  # how that process ended; empty while it lives


class Supervisor(NamedTuple):
    """Where the supervisor is in its beat, and its state in memory."""

    at: str = "idle"
    exit: str = ""  # result of its look: how the attempt ended, "lives" or "nothing"
    size: int = 0  # of the events, when it looked
    end: int = 0  # of the events that were read and not yet committed
    read_to: int = -1
    missed: str = ""  # since when it is missed: "just now", "before it was seen", "for 10 s"
    starts: int = 0  # attempts that were missed
    signalled: str = ""
    asked: str = ""  # the request when a start was given up
    keeper_dies: str = ""  # the place at which the first keeper that it starts dies


class Keeper(NamedTuple):
    job: int
    attempt: int
    at: str = "spawned"  # locked, started, recorded, waited, written
    outcome: str = ""
    dies: str = ""


class Process(NamedTuple):
    """The job's own process. Without its keeper it is an orphan, until the kernel kills it."""

    job: int
    attempt: int
    at: str = "new"  # started, trained, told, dead
    stops: bool = False


class State(NamedTuple):
    jobs: tuple[Job, ...] = (Job(),)
    keepers: tuple[Keeper, ...] = ()
    processes: tuple[Process, ...] = ()
    supervisor: Supervisor | None = Supervisor()
    boot: int = 1
    is_full: bool = False
    faults: int = 0
    asks: int = 0
    deaths: tuple[str, ...] = ()  # places at which the next supervisors die, one each
    keeper_dies: str = ""


@dataclass(frozen=True)
class Rules:
    """How much may happen, and the protocol's rules: each can be broken, to see that it is needed."""

    faults: int = 2
    asks: int = 1
    kinds: frozenset[str] = frozenset({"supervisor", "keeper", "job", "reboot", "full"})  # of faults
    wishes: frozenset[str] = frozenset({"stop", "kill", "pause"})
    retries: int = 1
    late_keepers: bool = False
    numbered_exit: bool = True  # exit.json names its attempt
    claim_unlinks: bool = True
    claims: bool = True
    clears: bool = True
    is_atomic: bool = True  # rows and offset are committed at once
    looks_twice: bool = True  # at exit.json, before and after the lock
    looks_after_trace: bool = True  # at exit and lock once more, before it calls an attempt lost
    forgets_missed: bool = True  # once the attempt is seen alive
    any_event_counts: bool = (
        True  # a job with any event has come to life, even if it could not write the started event
    )
    revokes: bool = True  # revoke the attempt before giving it up: a late keeper then exits
    fails_as_asked: bool = True  # a job that never came to life ends by the newest request


class Step(NamedTuple):
    name: str
    state: State

    @property
    def is_free(self) -> bool:
        """Whether it happens by itself: no fault, and no request."""
        return not self.name.startswith(("fault", "person"))


PLACES = {  # crash points of the product, by the place in the model that corresponds to each
    "committed": "supervisor-committed",
    "locked": "claim-locked",
    "written": "claim-written",
    "unlinked": "claim-unlinked",
    "claimed": "supervisor-claimed",
    "spawned": "supervisor-spawned",
    "taken": "events-taken",
    "cleared": "end-cleared",
    "noticed": "end-noticed",
    "settled": "end-settled",
}
KEEPER_PLACES = {at: f"keeper-{at}" for at in ("locked", "started", "recorded", "waited", "written")}


def steps(state: State, rules: Rules) -> Iterator[Step]:
    """Yield all that can happen next."""
    if state.supervisor is None:
        fresh = Supervisor(keeper_dies=state.keeper_dies)
        yield Step("supervisor starts", state._replace(supervisor=fresh))
    else:
        if not (rules.late_keepers and any(orphans(state))):
            for name, after in supervisor_steps(state, state.supervisor, rules):
                yield Step(f"supervisor: {name}", die_at_place(after))
        yield from person_steps(state, rules)
        yield from ten_seconds(state, state.supervisor, rules)
    for keeper in state.keepers:
        for name, after in keeper_steps(state, keeper, rules):
            yield Step(f"keeper {keeper.attempt}: {name}", after)
    for process in state.processes:
        for name, after in process_steps(state, process):
            yield Step(f"job {process.attempt}: {name}", after)
    if state.is_full:
        yield Step("there is room again", state._replace(is_full=False))
    yield from faults(state, rules)


def with_job(state: State, **changes: object) -> State:
    """Change the newest job, which is the one that the supervisor handles."""
    return state._replace(jobs=(*state.jobs[:-1], state.jobs[-1]._replace(**changes)))


def with_job_at(state: State, number: int, **changes: object) -> State:
    jobs = list(state.jobs)
    jobs[number] = jobs[number]._replace(**changes)
    return state._replace(jobs=tuple(jobs))


def goes(state: State, at: str, **changes: object) -> State:
    """Move the supervisor on."""
    assert state.supervisor is not None
    return state._replace(supervisor=state.supervisor._replace(at=at, **changes))


def rests(state: State, **changes: object) -> State:
    """End the beat, and drop what it has seen."""
    return goes(state, "idle", **{"exit": "", "size": 0, "end": 0, "asked": "", **changes})


def die_at_place(state: State) -> State:
    """Let the supervisor die where the trace says, once it has come there."""
    if not state.deaths or state.supervisor is None or PLACES.get(state.supervisor.at) != state.deaths[0]:
        return state
    return without_supervisor(state)._replace(deaths=state.deaths[1:])


def without_supervisor(state: State) -> State:
    lock = FREE if state.jobs[-1].lock == SUPERVISOR else state.jobs[-1].lock
    return with_job(state, lock=lock)._replace(supervisor=None)


Moves = Iterator[tuple[str, State]]


def supervisor_steps(state: State, own: Supervisor, rules: Rules) -> Moves:
    """Take the supervisor's next step: a beat ingests events, passes on, detects an end, or starts waiting jobs."""
    job = state.jobs[-1]
    if own.at == "idle":
        if job.word == WAITING and not job.held:
            yield from commit_start(state, own)
        elif job.word == RUNNING and (how := exit_of(job, rules)):
            yield "sees exit.json", goes(state, "looked", exit=how, size=len(job.events))
        elif job.word == RUNNING:
            yield "sees no exit.json", goes(state, "no exit")
    elif own.at == "no exit" and job.lock != FREE:
        if rules.forgets_missed and own.missed:
            state = goes(state, own.at, missed="", starts=own.starts - 1)
        elif own.missed == "just now":
            state = goes(state, own.at, missed="before it was seen")
        yield "sees the lock held", goes(state, "looked", exit="lives", size=len(job.events))
    elif own.at == "no exit":
        yield "sees the lock free", goes(state, "free")
    elif own.at == "free":
        how = exit_of(job, rules) if rules.looks_twice else ""
        yield "looks at exit.json again", goes(state, "looked", exit=how or "nothing", size=len(job.events))
    elif own.at in ("looked", "taken") and own.size != own.read_to:
        yield "reads events", goes(state, "read", end=len(job.events))
    elif own.at in ("looked", "taken") and job.asked and own.signalled != job.asked:
        yield from pass_on(state, own, rules)
    elif own.at in ("looked", "taken", "told"):
        yield from notice_end(state, own, rules)
    elif own.at.startswith("traced") or own.at == "to judge":
        yield from look_after_trace(state, own, rules)
    elif own.at in ("read", "read last", "half in"):
        yield from commit_events(state, own, rules)
    elif own.at == "lost":
        yield "clears", clear(state, rules)
    elif own.at == "cleared":
        at, end = ("read last", len(job.events)) if own.size != own.read_to else ("noticed", 0)
        yield "reads the last events", goes(state, at, end=end)
    elif own.at == "noticed":
        yield from settle(state, own, rules)
    elif own.at == "settled":
        yield "has settled", rests(state)
    elif own.at in ("given up", "revoking"):
        yield from revoke(state, own, rules)
    elif own.at == "again":
        yield from commit_start(state, own)
    elif own.at == "fails":
        asked = job.asked if rules.fails_as_asked else own.asked
        yield from refused(state) if state.is_full else [("gives up", ended(state, "failed", asked, rules))]
    else:
        yield from claim(state, own, rules)


def exit_of(job: Job, rules: Rules) -> str:
    """Read exit.json for the attempt that the store knows; empty if there is none."""
    if job.exit is None or (rules.numbered_exit and job.exit[0] != job.attempt):
        return ""
    return job.exit[1]


def refused(state: State) -> Moves:
    """The disk is full: the beat ends, and the next one repeats it."""
    yield "is refused: disk full", rests(state)


def commit_start(state: State, own: Supervisor) -> Moves:
    if state.is_full:
        yield from refused(state)
        return
    begun = with_job(state, word=RUNNING, attempt=state.jobs[-1].attempt + 1, said="")
    yield "commits the start", goes(begun, "committed", missed="", signalled="", exit="", size=0, end=0)


def claim(state: State, own: Supervisor, rules: Rules) -> Moves:
    """Lock, write the attempt, remove the records of earlier ones, unlock; then start a keeper."""
    job = state.jobs[-1]
    if own.at == "committed" and not rules.claims:
        yield "claims nothing", goes(state, "claimed")
    elif own.at == "committed" and job.lock != FREE:
        yield "can't claim", rests(state)
    elif own.at == "committed":
        yield "locks", goes(with_job(state, lock=SUPERVISOR), "locked")
    elif own.at == "locked" and state.is_full:
        yield "can't write the attempt: disk full", rests(with_job(state, lock=FREE))
    elif own.at == "locked":
        at = "written" if rules.claim_unlinks else "cleared out"
        yield "writes the attempt", goes(with_job(state, attempt_file=job.attempt), at)
    elif own.at == "written":
        yield "unlinks exit.json", goes(with_job(state, exit=None), "unlinked")
    elif own.at == "unlinked":
        yield "unlinks keeper.json", goes(with_job(state, record=None), "cleared out")
    elif own.at == "cleared out":
        yield "unlocks", goes(with_job(state, lock=FREE), "claimed")
    elif own.at == "claimed":
        keeper = Keeper(len(state.jobs) - 1, job.attempt, dies=own.keeper_dies)
        spawned = state._replace(keepers=tuple(sorted((*state.keepers, keeper))))
        yield "spawns a keeper", goes(spawned, "spawned", keeper_dies="")
    elif own.at == "spawned":
        yield "has started it", rests(state)


def commit_events(state: State, own: Supervisor, rules: Rules) -> Moves:
    """Commit the rows and the position in the events at once: each event once, whichever process dies."""
    job, at = state.jobs[-1], "noticed" if own.at == "read last" else "taken"
    if state.is_full:
        yield from refused(state)
        return
    rows, last_event = job.events[job.read : own.end], job.said
    for _, event in rows:
        last_event = {"started": "", "finished": event, "stopped": event}.get(event, last_event)
    if rules.is_atomic:
        taken = with_job(state, read=own.end, taken=job.taken + rows, said=last_event)
        yield "commits events", goes(taken, at, read_to=own.size, end=0)
    elif own.at == "half in":
        yield "commits the offset", goes(with_job(state, read=own.end), "taken", read_to=own.size, end=0)
    else:
        yield "commits the rows", goes(with_job(state, taken=job.taken + rows, said=last_event), "half in")


def pass_on(state: State, own: Supervisor, rules: Rules) -> Moves:
    """Signal the keeper of this attempt if it has written its record and holds the lock; it forwards at once."""
    job, number = state.jobs[-1], len(state.jobs) - 1
    if job.record != (job.attempt, state.boot) or job.lock == FREE:
        yield from notice_end(state, own, rules)
        return
    told = goes(state, "told", signalled=job.asked)
    for process in state.processes:
        if process[:2] == (number, job.attempt) and process.at != "dead":
            if job.asked == "kill":
                told = dies(told, process, "killed")
            else:
                told = with_process(told, process, process._replace(stops=True))
    yield f"passes on the {job.asked}", told


def notice_end(state: State, own: Supervisor, rules: Rules) -> Moves:
    """Act on the look: the job lives, has ended, or is missing, and its trace says why."""
    job = state.jobs[-1]
    trace = job.record is not None and job.record[0] == job.attempt
    if own.exit == "lives":
        yield "sees that it lives", rests(state)
    elif own.exit != "nothing":
        yield "notices its end", goes(state, "noticed")
    elif not rules.looks_after_trace:
        yield from judge(state, own, rules, has_trace=trace)
    else:
        yield f"sees {'a' if trace else 'no'} trace", goes(state, "traced", exit="here" if trace else "")


def look_after_trace(state: State, own: Supervisor, rules: Rules) -> Moves:
    """Read exit, lock and exit once more: a job that came to life since the first look is not lost."""
    job = state.jobs[-1]
    if own.at == "to judge":
        yield from judge(state, own, rules, has_trace=own.exit == "here")
    elif own.at != "traced, no exit" and exit_of(job, rules):
        yield "sees that it has ended since", rests(state)
    elif own.at == "traced":
        yield "sees still no exit.json", goes(state, "traced, no exit")
    elif own.at == "traced, no exit" and job.lock != FREE:
        yield "sees that it came to life", rests(state)
    elif own.at == "traced, no exit" and rules.looks_twice:
        yield "sees the lock still free", goes(state, "traced, free")
    else:
        yield "sees that nothing is there", goes(state, "to judge")


def judge(state: State, own: Supervisor, rules: Rules, *, has_trace: bool) -> Moves:
    """Decide whether a missing attempt is lost, or never came to life."""
    job = state.jobs[-1]
    begun = [
        attempt for attempt, event in job.events[: own.size] if event == "started" or rules.any_event_counts
    ]
    if not has_trace and own.missed != "for 10 s":
        starts = own.starts + (not own.missed)
        yield "misses it", rests(state, missed=own.missed or "just now", starts=starts)
    elif not has_trace and begun[-1:] != [job.attempt]:
        if rules.revokes:
            yield "gives the attempt up", goes(state, "given up")
        else:
            yield start_again(state, own)
    else:
        yield "finds it lost", goes(state, "lost")


def revoke(state: State, own: Supervisor, rules: Rules) -> Moves:
    """Lock, check that it has still not come to life, write that no attempt may start, unlock."""
    job = state.jobs[-1]
    if own.at == "given up" and job.lock != FREE:
        yield "can't revoke: it came to life", rests(state)
    elif own.at == "given up":
        yield "locks to revoke", goes(with_job(state, lock=SUPERVISOR), "revoking")
    elif exit_of(job, rules) or job.events or state.is_full:
        yield "does not revoke", rests(with_job(state, lock=FREE))
    else:
        yield start_again(with_job(state, lock=FREE, attempt_file=0), own)


def start_again(state: State, own: Supervisor) -> tuple[str, State]:
    """Start the next attempt, or end a job that never came to life."""
    if own.starts < MOST_STARTS:
        return "is to start it again", goes(state, "again")
    return "is to give it up", goes(state, "fails", asked=state.jobs[-1].asked)


def clear(state: State, rules: Rules) -> State:
    """Kill the processes with the mark from the attempt's keeper's record."""
    job, number = state.jobs[-1], len(state.jobs) - 1
    if rules.clears and job.record is not None and job.record[0] == job.attempt:
        for process in state.processes:
            if process[:2] == (number, job.attempt) and process.at != "dead":
                state = dies(state, process, "killed")
    return goes(state, "cleared", size=len(job.events), exit="nothing")


def settle(state: State, own: Supervisor, rules: Rules) -> Moves:
    if state.is_full:
        yield from refused(state)
        return
    job = state.jobs[-1]
    how = job.said if own.exit == "nothing" else own.exit
    if not how:
        word = "stopped" if job.asked == "kill" else "lost"
    elif job.said == "finished" and how in ("ok", "finished"):
        word = "finished"
    elif job.asked == "kill" or job.said == "stopped" or (job.asked and how == "term"):
        word = "stopped"
    else:
        word = "failed"
    yield f"settles it as {word}", ended(state, word, job.asked, rules)


def ended(state: State, word: str, asked: str, rules: Rules) -> State:
    """Record how a job ended, and queue its continuation, in one transaction."""
    after = with_job(state, word=word)
    tries = sum(job.by == "retry" for job in state.jobs)
    if asked == "pause" and word == "stopped":
        after = after._replace(jobs=(*after.jobs, Job(held=True, by="pause")))
    elif word in ("failed", "lost") and asked not in ("stop", "kill") and tries < rules.retries:
        after = after._replace(jobs=(*after.jobs, Job(held=asked == "pause", by="retry")))
    fresh = Supervisor(at="settled", keeper_dies=state.supervisor.keeper_dies if state.supervisor else "")
    return after._replace(supervisor=fresh)


def ten_seconds(state: State, own: Supervisor, rules: Rules) -> Iterator[Step]:
    """Let the grace period of a start pass: the one assumption about time, after which no keeper or orphan is late."""
    is_late = own.missed == "just now" and (any(state.keepers) or any(orphans(state)))
    if own.missed in ("just now", "before it was seen") and (rules.late_keepers or not is_late):
        yield Step("10 s pass", state._replace(supervisor=own._replace(missed="for 10 s")))


def keeper_steps(state: State, own: Keeper, rules: Rules) -> Moves:
    job = state.jobs[own.job]
    if own.at == "spawned" and job.lock != FREE:
        yield "can't lock, and goes", gone(state, own)
    elif own.at == "spawned" and rules.claims and job.attempt_file != own.attempt:
        yield "is of another attempt, and goes", gone(state, own)
    elif own.at == "spawned":
        yield "locks", keeps(with_job_at(state, own.job, lock=own.attempt), own, "locked")
    elif own.at == "locked":
        process = Process(own.job, own.attempt)
        begun = with_job_at(state, own.job, ran=own.attempt, outcome="")
        begun = begun._replace(processes=tuple(sorted((*state.processes, process))))
        yield "starts the job", keeps(begun, own, "started")
    elif own.at == "started" and not state.is_full:
        record = (own.attempt, state.boot)
        yield "writes keeper.json", keeps(with_job_at(state, own.job, record=record), own, "recorded")
    elif own.at == "recorded":
        for process in state.processes:
            if process[:2] == own[:2] and process.at == "dead":
                rest = tuple(one for one in state.processes if one != process)
                yield "has waited", keeps(state._replace(processes=rest), own, "waited", outcome=job.outcome)
    elif own.at == "waited" and not state.is_full:
        facts = (own.attempt, own.outcome)
        yield "writes exit.json", keeps(with_job_at(state, own.job, exit=facts), own, "written")
    elif own.at == "written":
        yield "ends", gone(state, own)


def keeps(state: State, own: Keeper, at: str, outcome: str = "") -> State:
    """Move a keeper on; it dies where the trace says, once it has come there."""
    if own.dies == KEEPER_PLACES[at]:
        return gone(state, own)
    rest = [one for one in state.keepers if one != own]
    return state._replace(keepers=tuple(sorted((*rest, own._replace(at=at, outcome=outcome)))))


def gone(state: State, own: Keeper) -> State:
    """End a keeper: the kernel frees its lock, and its job is an orphan."""
    if own.at != "spawned" or state.jobs[own.job].lock == own.attempt:
        state = with_job_at(state, own.job, lock=FREE)
    dead = [one for one in state.processes if one[:2] == own[:2] and one.at == "dead"]
    return state._replace(
        keepers=tuple(one for one in state.keepers if one != own),
        processes=tuple(one for one in state.processes if one not in dead),
    )


def orphans(state: State) -> list[Process]:
    kept = {keeper[:2] for keeper in state.keepers if keeper.at != "spawned"}
    return [process for process in state.processes if process.at != "dead" and process[:2] not in kept]


def process_steps(state: State, own: Process) -> Moves:
    """Let the job proceed: it writes that it started, a step, and how it ends; without disk space it writes nothing."""
    if own in orphans(state):
        yield "is killed by the kernel", dies(state, own, "killed")
    if own.at == "new" and own.stops:
        yield "ends by SIGTERM", dies(state, own, "term")
    elif own.at == "new":
        yield "tells that it started", tells(state, own, "started", "started")
    elif own.at == "started" and not own.stops:
        yield "tells a step", tells(state, own, "step", "trained")
    elif own.at == "trained" and not state.is_full:
        yield "tells that it finished", tells(state, own, "finished", "told")
    elif own.at == "told":
        yield "exits", dies(state, own, "ok")
        if own.stops:
            yield "ends by SIGTERM: its program is at its end", dies(state, own, "term")
    if own.at in ("started", "trained") and own.stops and not state.is_full:
        yield "saves, and tells that it stopped", tells(state, own, "stopped", "told")


def tells(state: State, own: Process, event: str, at: str) -> State:
    events = state.jobs[own.job].events + (() if state.is_full else ((own.attempt, event),))
    return with_process(with_job_at(state, own.job, events=events), own, own._replace(at=at))


def with_process(state: State, before: Process, after: Process) -> State:
    rest = [one for one in state.processes if one != before]
    return state._replace(processes=tuple(sorted((*rest, after))))


def dies(state: State, own: Process, outcome: str) -> State:
    """End a job's process; its keeper, if it has one, still has to wait for it."""
    is_orphan = own in orphans(state)
    if state.jobs[own.job].ran == own.attempt:
        state = with_job_at(state, own.job, outcome=outcome)
    if is_orphan:
        return state._replace(processes=tuple(one for one in state.processes if one != own))
    return with_process(state, own, own._replace(at="dead", stops=False))


def faults(state: State, rules: Rules) -> Iterator[Step]:
    """Yield possible faults, while more are allowed."""
    if state.faults >= rules.faults:
        return
    worse = state._replace(faults=state.faults + 1)
    if "supervisor" in rules.kinds and state.supervisor is not None:
        yield Step("fault: the supervisor is killed", without_supervisor(worse))
    if "keeper" in rules.kinds:
        for keeper in state.keepers:
            yield Step(f"fault: keeper {keeper.attempt} is killed", gone(worse, keeper))
    if "job" in rules.kinds:
        for process in state.processes:
            if process.at != "dead":
                yield Step(f"fault: job {process.attempt} is killed", dies(worse, process, "killed"))
    if "full" in rules.kinds and not state.is_full:
        yield Step("fault: the disk is full", worse._replace(is_full=True))
    if "reboot" in rules.kinds:
        jobs = tuple(
            job._replace(lock=FREE, outcome=job.outcome or ("killed" if job.ran else ""))
            for job in worse.jobs
        )
        bare = worse._replace(jobs=jobs, keepers=(), processes=(), supervisor=None, boot=state.boot + 1)
        yield Step("fault: the machine restarts", bare)


def person_steps(state: State, rules: Rules) -> Iterator[Step]:
    """Yield possible requests, while there is a supervisor to receive them."""
    if state.asks >= rules.asks or state.is_full:
        return
    job, more = state.jobs[-1], state._replace(asks=state.asks + 1)
    for wish in sorted(rules.wishes):
        if job.word == RUNNING and not (wish == "pause" and job.asked in ("stop", "kill")):
            yield Step(f"person: {wish}", with_job(more, asked=wish))
        elif job.word == WAITING and wish == "pause" and not job.held:
            yield Step("person: hold", with_job(more, held=True))
        elif job.word == WAITING and wish == "stop":
            yield Step("person: takes it out of the queue", with_job(more, word="stopped", held=False))
    if job.word == WAITING and job.held:
        yield Step("person: release", with_job(more, held=False))
    elif job.word in ("failed", "lost", "stopped") and state.supervisor and state.supervisor.at == "idle":
        yield Step("person: resume", more._replace(jobs=(*state.jobs, Job()), supervisor=Supervisor()))


def wrongs(state: State) -> Iterator[str]:
    """Yield broken invariants, in words."""
    if sum(process.at != "dead" for process in state.processes) > 1:
        yield "two processes of the run live"
    for number, job in enumerate(state.jobs):
        if job.taken != job.events[: len(job.taken)]:
            yield "the store's events are not how the file begins"
        if len({attempt for attempt, _ in job.events}) > 1:
            yield "what has told of its work was started again in the same file"
        if job.word in (WAITING, RUNNING):
            continue
        if job.taken != job.events:
            yield f"it is marked {job.word}, and events are not in"
        if any(one.job == number and one.at != "dead" for one in state.processes):
            yield f"it is marked {job.word}, and its process lives"
        if not is_true(state, number, job):
            yield f"it is marked {job.word}, which it is not"
        if (
            state.jobs[number + 1 :]
            and job.asked in ("stop", "kill")
            and state.jobs[number + 1].by == "retry"
        ):
            yield f"it was asked to {job.asked}, and is tried again"


def is_true(state: State, number: int, job: Job) -> bool:
    """Whether a job's recorded state is true of its last attempt."""
    last = job.events[-1] if job.events else (0, "")
    if job.word == "finished":
        return last == (job.ran, "finished") and job.outcome != ""
    if job.word == "stopped":
        return bool(job.asked) or last[1] == "stopped" or job.ran == 0
    if job.word == "failed":
        return job.ran == 0 or job.outcome in ("killed", "term")
    keeps = any(one.job == number and one.at not in ("spawned", "written") for one in state.keepers)
    return job.ran > 0 and not keeps and (job.exit is None or job.exit[0] != job.ran)


def is_over(state: State) -> bool:
    """Whether the run has ended, or waits for a person, and no process is left that does anything for it."""
    job = state.jobs[-1]
    is_still = not state.keepers and not state.processes and state.supervisor is not None
    return is_still and (job.held if job.word == WAITING else job.word != RUNNING)

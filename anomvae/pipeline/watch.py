"""watch and score FOLDER: settled files in, commits out; one loop for both.

It is handed an inbox (paths and time), a store (what lasts) and callbacks (what is said). One thread does the work,
and `tick` runs between any two steps of it, so that a heartbeat tells the truth about the work itself. With several
jobs it leaves the scoring to workers, but takes files up and commits them alone, and in one order. When the machine
fails, `watch` waits and tries again, `score` ends; no file is blamed.
"""

import heapq
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial

import msgspec

from anomvae.deliveries import Counters, Line, Manifest, Quarantined
from anomvae.errors import EnvironmentFault, UnsyncedError
from anomvae.inbox.inbox import Inbox
from anomvae.inbox.scanner import Stat
from anomvae.inbox.settler import CHANGED, Arrival
from anomvae.pipeline.deliver import ChangedError, DroppedError
from anomvae.pipeline.judge import Judge, Known, Later, Model, Outcome, Taken
from anomvae.pipeline.moves import Moves
from anomvae.pipeline.piece import alpha_of
from anomvae.pipeline.pool import Workers
from anomvae.results import FileResult, Verdict, Waits
from anomvae.settings import ScoreSettings, WatchSettings
from anomvae.storage.store import Store, shown

LONGEST_PAUSE = 60.0  # seconds between two attempts when the machine fails
BATCH = 200  # states of known files remembered in one transaction
RATES, RECENT = 120, 12
COUNTED = ("rows", "scored", "rejected", "flagged", "critical")


class Run:
    """A run over a folder.

    Args:
        inbox: the folder.
        store: the output folder.
        model: the detector of the moment.
        settings, watch: what to write, and what to do afterwards.
        patient: wait when the machine fails (`watch`), or raise (`score`).
        workers: who scores, where it is not this process or `settings.jobs` of its own.
        tell: called with every finished delivery and every note.
        beat: called between any two steps.
        clock, now: monotonic seconds, and the time of day in UTC.
    """

    def __init__(
        self,
        inbox: Inbox,
        store: Store,
        model: Model,
        settings: ScoreSettings,
        watch: WatchSettings,
        *,
        patient: bool,
        workers: Workers | None = None,
        tell: Callable[[FileResult | Quarantined | str], None],
        beat: Callable[["Run"], None] = lambda run: None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.inbox, self.store, self.model, self.settings = inbox, store, model, settings
        self.patient, self.tell, self.beat, self.clock, self.now = patient, tell, beat, clock, now
        self.started = self.last_work = clock()
        self.counters = Counters()
        self.recent: deque[Line] = deque(maxlen=RECENT)
        self.rates: deque[float] = deque(maxlen=RATES)
        self.inflight, self.paused = "", ""
        self.drop_at: float | None = None
        self._known = store.ledger.seen()
        self._version = store.ledger.version()
        self._pause = 1.0
        self._later: list[tuple[bytes, Stat]] = []
        self._taken: dict[bytes, Taken] = {}  # files under way, in the order of their commits
        self._moves = Moves(inbox.scanner, store, tell)
        self._judge = Judge(
            store,
            model,
            settings,
            watch,
            settle=inbox.settler.settle,
            patient=patient,
            trusted=inbox.settler.trusted,
            folder=inbox.folder,
            open_file=inbox.open,
            workers=workers,
            tick=self.tick,
            note=tell,
            now=now,
        )

    def known(self, path: bytes, stat: Stat) -> bool:
        """Whether this state of a path was judged already."""
        return self._known.get(path) == hash(tuple(stat))

    def go(self, arrivals: Iterator[Arrival | None]) -> None:
        """Judge files as they come.

        Raises:
            EnvironmentFault: the machine failed, and this run is not patient; or an fsync failed.
        """
        self._moves.all()
        try:
            for arrival in arrivals:
                self.tick()
                self._one(arrival)
            self._finish(0)
            self._renew()
        except DroppedError:
            self._judge.close()
            self.store.renew()
        finally:
            self._judge.close()
            for taken in self._taken.values():
                self._judge.give_up(taken)
        self._remember()

    def skip_existing(self) -> int:
        """Take all that is in the folder now as judged; returns how many files that are."""
        present = self.inbox.scanner.scan().files
        self.store.ledger.see(present.items())
        self._known = self.store.ledger.seen()
        return len(present)

    def tick(self) -> None:
        """A sign of life; gives up the file in work when the run must end now."""
        self.beat(self)
        if self.drop_at is not None and self.clock() >= self.drop_at:
            self.inbox.stop = True
            raise DroppedError

    def waiting(self, most: int = 50) -> tuple[Waits, ...]:
        """Files that are not judged yet, those that wait longest first."""
        now = self.clock()
        items = heapq.nsmallest(most, self.inbox.settler.waiting.items(), key=lambda item: item[1].seen)
        return tuple(Waits(file=shown(p), reason=w.sentence(), seconds=round(now - w.seen, 1)) for p, w in items)

    def alpha(self) -> float:
        """The false-alarm rate of this run."""
        return alpha_of(self.model.current(), self.settings)

    def critical(self) -> int:
        """Flagged rows that survive Benjamini-Hochberg over the whole run."""
        return self._judge.severities.critical

    def _one(self, arrival: Arrival | None) -> None:
        """Take a file up, or look after the house while none is there; of one path, never two are under way."""
        if arrival is None:
            self._finish(0)
            self._bearing(None, self._idle)
        elif arrival.path not in self._taken:
            self._bearing(arrival, partial(self._take, arrival))
            self._finish(self._judge.workers.ahead if self._judge.workers else 0)

    def _take(self, arrival: Arrival) -> None:
        with self._working(arrival):
            found = self._judge.take(arrival)
            if isinstance(found, Taken):
                self._taken[arrival.path] = found
            else:
                self._note(arrival, found)
                self._recovered()

    def _finish(self, most: int) -> None:
        """Finish files in the order in which they were taken, until at most so many are under way."""
        while len(self._taken) > most:
            taken = next(iter(self._taken.values()))
            self._bearing(taken.arrival, partial(self._finish_one, taken))

    def _finish_one(self, taken: Taken) -> None:
        with self._working(taken.arrival):
            try:
                outcome = self._judge.finish(taken)
            finally:
                del self._taken[taken.arrival.path]
            self._note(taken.arrival, outcome)
            self._recovered()

    @contextmanager
    def _working(self, arrival: Arrival) -> Iterator[None]:
        """Tell which file is in work; one that changes meanwhile is put off."""
        self.inflight = shown(arrival.path)
        try:
            yield
        except ChangedError:
            self._put_off(arrival, Later(CHANGED, self.inbox.settler.settle))
        finally:
            self.inflight = ""
            self.last_work = self.clock()

    def _bearing(self, arrival: Arrival | None, step: Callable[[], None]) -> None:
        """Take a step; where the machine fails, wait, or end the run."""
        try:
            step()
        except UnsyncedError:
            raise
        except EnvironmentFault as fault:
            self._suffer(arrival, fault)

    def _note(self, arrival: Arrival, outcome: Outcome) -> None:
        """Keep count of what a file became."""
        if isinstance(outcome, Later):
            self._put_off(arrival, outcome)
            return
        self.inbox.done(arrival.path)
        if isinstance(outcome, Manifest | Quarantined):
            self._finished(arrival, outcome)
        elif isinstance(outcome, Known):
            self.counters = msgspec.structs.replace(self.counters, duplicates=self.counters.duplicates + 1)
            self._known[arrival.path] = hash(tuple(arrival.stat))
            self._later.append((arrival.path, arrival.stat))
            if len(self._later) >= BATCH:
                self._remember()

    def _put_off(self, arrival: Arrival, later: Later) -> None:
        self._renew()
        self.inbox.hold(arrival.path, later.reason, later.seconds)

    def _finished(self, arrival: Arrival, fact: Manifest | Quarantined) -> None:
        self._known[arrival.path] = hash(tuple(arrival.stat))
        done = self.counters
        if isinstance(fact, Manifest):
            result = fact.result
            sums = {name: getattr(done, name) + getattr(result, name) for name in COUNTED}
            self.counters = msgspec.structs.replace(done, files=done.files + 1, **sums)
            if result.scored:
                self.rates.append(result.flagged / result.scored)
            self.recent.append(_line(fact, result.verdict, _first_reason(result), result))
        else:
            self._renew()
            self.counters = msgspec.structs.replace(done, quarantined=done.quarantined + 1)
            self.recent.append(_line(fact, "failed", f"{fact.message} [{fact.reason_code}]"))
        self.tell(fact.result if isinstance(fact, Manifest) else fact)
        if fact.move:
            self._moves.one(arrival.path, fact.delivery_id, fact.sha256, quarantined=isinstance(fact, Quarantined))

    def _suffer(self, arrival: Arrival | None, fault: EnvironmentFault) -> None:
        """Our own fault: nothing is blamed on the file. Wait, and try it again."""
        if not self.patient:
            raise fault
        with suppress(EnvironmentFault):
            self._renew()
        if self.paused != fault.code:
            self.tell(f"paused: {fault} Nothing is lost; trying again.")
        self.paused = fault.code
        until = self.clock() + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        if arrival is not None:
            self.inbox.hold(arrival.path, fault.code, 0.0)
        while self.clock() < until and not self.inbox.stop:
            self.tick()
            time.sleep(0.2)

    def _recovered(self) -> None:
        """The machine works: after a pause what the faults have left can be removed."""
        if self.paused:
            self._renew()
        self._pause, self.paused = 1.0, ""

    def _renew(self) -> None:
        self.store.renew({name for taken in self._taken.values() for name in taken.job.temporary()})

    def _idle(self) -> None:
        self._remember()
        if (version := self.store.ledger.version()) != self._version:  # `retry` took something back
            self._known, self._version = self.store.ledger.seen(), version
        present = self.inbox.present
        if self.inbox.reachable and len(self._known) > 2 * len(present) + 1000:
            gone = [path for path in self._known if path not in present]
            self.store.ledger.forget(gone)
            for path in gone:
                del self._known[path]

    def _remember(self) -> None:
        if self._later:
            self.store.ledger.see(self._later)
            self._later = []


def _first_reason(result: FileResult) -> str:
    if result.drift and result.drift.told:
        return f"drift: {result.drift.told[0]}"
    reasons = result.worst[0].reasons if result.worst else ()
    return reasons[0].text if reasons else ""


def _line(fact: Manifest | Quarantined, verdict: Verdict, told: str, result: FileResult | None = None) -> Line:
    return Line(
        delivery_id=fact.delivery_id,
        at=fact.committed_utc,
        file=fact.file,
        verdict=verdict,
        rows=result.rows if result else 0,
        flagged=result.flagged if result else 0,
        critical=result.critical if result else 0,
        told=told,
    )

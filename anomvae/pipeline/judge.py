"""One settled file to one fact: committed, quarantined, known already, or to be looked at again.

In two steps, so that several files can be under way: it is taken, and in the same order finished. Between the two it
is with a worker, where there are several jobs.

What a file is (DataError) puts it in quarantine. What kills the scorer, or is a bug, puts it under suspicion, and
next time it is scored in a child process; two dead children are proof. Faults of the machine are not caught here.
"""

import os
import stat as modes
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import msgspec

import anomvae
from anomvae.deliveries import Manifest, Quarantined
from anomvae.errors import AnomvaeError, DataError, EnvironmentFault
from anomvae.inbox.scanner import stat_of
from anomvae.inbox.settler import UNENDED, UNREADABLE, Arrival
from anomvae.model.detector import Detector
from anomvae.pipeline import excerpt
from anomvae.pipeline.deliver import ChangedError, DroppedError, Job, Scored, fingerprint, work
from anomvae.pipeline.drift import in_sequence
from anomvae.pipeline.errand import Delivery, FailedError, ReplacedError, outcome
from anomvae.pipeline.isolate import DiedError, isolated
from anomvae.pipeline.pool import Pool, Workers
from anomvae.pipeline.tally import Severities
from anomvae.pipeline.worker import Ticket
from anomvae.settings import ScoreSettings, WatchSettings
from anomvae.storage.ledger import Entry
from anomvae.storage.store import Store, delivery_id, encoded, shown

SUSPECT = 2  # crashes over a file after which it is scored in a child
PROOF = 2  # dead children after which it is quarantined
NUL_PATIENCE = 600.0  # seconds: a preallocated file is filled in, or is not


class Model(Protocol):
    """Gives the detector of the moment; it may change when the model's file does."""

    name: str

    def current(self) -> Detector:
        """The newest detector that could be loaded."""
        ...


class Later(msgspec.Struct, frozen=True):
    """Look at the file again after so many seconds, or when it has changed."""

    reason: str
    seconds: float


class Known(msgspec.Struct, frozen=True):
    """This content was judged under this name before."""


class Gone(msgspec.Struct, frozen=True):
    """The file is not there any more."""


class Taken(msgspec.Struct, eq=False):
    """A file that was opened, hashed and is new, on its way to a fact; `ticket` where a worker scores it."""

    arrival: Arrival
    file: BinaryIO
    job: Job
    detector: Detector
    parent: Entry | None
    ticket: Ticket | None = None


Outcome = Manifest | Quarantined | Later | Known | Gone


class Judge:
    """Judges files.

    Args:
        store: the output folder.
        model: the detector of the moment.
        settings, watch: what to write, and what to do afterwards.
        settle: seconds in which a file settles.
        patient: whether a file that is full of NULs gets ten minutes (`watch`).
        trusted: whether a producer's marker says that files are complete.
        folder, open_file: the input folder, and what opens a path of it.
        workers: who scores; None: this process, or workers of it, where there are several jobs.
        tick: called between any two steps; it may raise to give the file up.
        note: called with what somebody should know.
        now: the time of day in UTC.
    """

    def __init__(
        self,
        store: Store,
        model: Model,
        settings: ScoreSettings,
        watch: WatchSettings,
        *,
        settle: float,
        patient: bool,
        trusted: bool,
        folder: Path,
        open_file: Callable[[bytes], int],
        workers: Workers | None,
        tick: Callable[[], None],
        note: Callable[[str], None],
        now: Callable[[], datetime],
    ) -> None:
        self.store, self.model, self.settings, self.watch = store, model, settings, watch
        self.settle, self.patient, self.trusted = settle, patient, trusted
        self._open, self._tick, self._note, self._now = open_file, tick, note, now
        self.severities = Severities()  # of all that was committed
        self._deaths: dict[bytes, int] = {}
        self._folder = os.fsencode(folder.absolute())
        self.workers = workers or (Pool(settings.jobs) if settings.jobs > 1 else None)

    def take(self, arrival: Arrival) -> Taken | Outcome:
        """Open and hash a settled file; what the ledger knows is not read again. What is taken has to be finished.

        Raises:
            ChangedError: the file changed since it settled.
            EnvironmentFault: the machine failed.
        """
        try:
            descriptor = self._open(arrival.path)
        except FileNotFoundError:
            return Gone()
        except PermissionError:
            return Later(UNREADABLE, self.settle)
        except OSError as error:
            raise EnvironmentFault.of(error, f"{shown(arrival.path)}: cannot be opened") from error
        file = os.fdopen(descriptor, "rb")
        found: Taken | Outcome = Gone()
        try:
            state = os.fstat(descriptor)
            if not modes.S_ISREG(state.st_mode) or stat_of(state) != arrival.stat:
                raise ChangedError(shown(arrival.path))
            found = self._identify(file, arrival)
        finally:
            if not isinstance(found, Taken):
                self._let_go(arrival.path, file)
        return found

    def finish(self, taken: Taken) -> Outcome:
        """Score what was taken, or take a worker's answer; a fact is committed when this returns.

        Raises:
            ChangedError: the file changed while it was read.
            EnvironmentFault: the machine failed.
        """
        try:
            scored = self._scored(taken)
        except DataError as error:
            return self._refuse(taken, error)
        except (AnomvaeError, ChangedError, DroppedError):
            raise
        except DiedError:
            return Later("scorer_died", self.settle)
        except Exception as error:  # a bug, or no memory: the file is under suspicion from now on
            self.store.ledger.suspect(taken.arrival.path)
            told = str(error) if isinstance(error, FailedError) else f"{type(error).__name__}: {error}"
            told = "its scorer failed" if taken.detector.schema.redacted else told  # an error may quote a cell
            self._note(f"{taken.job.name}: {told}; it will be tried again in a process of its own")
            return Later("scorer_failed", self.settle)
        else:
            return self._commit(taken, scored)
        finally:
            self.give_up(taken)

    def give_up(self, taken: Taken) -> None:
        """Leave a file that was taken as if it had not been."""
        self._let_go(taken.arrival.path, taken.file)

    def close(self) -> None:
        """End the workers."""
        if self.workers:
            self.workers.close()

    def _let_go(self, path: bytes, file: BinaryIO) -> None:
        file.close()
        self.store.unmark(path)

    def _identify(self, file: BinaryIO, arrival: Arrival) -> Taken | Known:
        ledger, path = self.store.ledger, arrival.path
        self.store.mark(path)
        last = ledger.last_committed(path)
        base = last.size if last and last.continues and last.size < arrival.stat.size else 0
        content = fingerprint(file, base, self._tick)
        if ledger.find(path, content.sha256):
            return Known()
        parent = last if base and last and content.base.hexdigest() == last.sha256 else None
        name = delivery_id(path, content.sha256)
        self.store.mark(path, name)
        job, detector = self._job(arrival, name, content.sha256, parent), self.model.current()
        taken = Taken(arrival, file, job, detector, parent)
        if self.workers and ledger.crashes(path) < SUSPECT:
            taken.ticket = self.workers.submit(self._errand(taken), file.fileno())
        return taken

    def _job(self, arrival: Arrival, name: str, sha256: str, parent: Entry | None) -> Job:
        suffix = f".{self.watch.format}"
        return Job(
            name=shown(arrival.path),
            delivery_id=name,
            sha256=sha256,
            settings=self.settings,
            suffix=suffix,
            result=str(self.store.temporary(suffix)),
            alerts=str(self.store.temporary(".alerts")),
            target=str(self.store.results / (name + suffix)),
            base_size=parent.size if parent else 0,
            base_lines=parent.lines if parent else 0,
        )

    def _errand(self, taken: Taken) -> Delivery:
        path = os.path.join(self._folder, taken.arrival.path)  # noqa: PTH118 (bytes)
        return Delivery(taken.job, self.model.name, taken.detector.model_id, path)

    def _scored(self, taken: Taken) -> Scored:
        """By a worker, or in this process, or, where those died over the file before, in a worker of its own."""
        path = taken.arrival.path
        if taken.ticket and self.workers:
            with suppress(ReplacedError):  # this process still has the model that the worker cannot load
                return outcome(self.workers.answer(taken.ticket, self._tick), Scored)
        if self.store.ledger.crashes(path) < SUSPECT:
            return work(taken.file, taken.job, taken.detector, self._tick)
        try:
            return isolated(taken.file, self._errand(taken), self._tick)
        except DiedError as death:
            self._deaths[path] = self._deaths.get(path, 0) + 1
            if self._deaths[path] < PROOF:
                raise
            told = f"the scorer dies over this file ({death}); retry it after an upgrade of anomvae"
            raise DataError("crashes_scorer", told) from death

    def _commit(self, taken: Taken, scored: Scored) -> Manifest:
        job, parent = taken.job, taken.parent
        before = self.store.ledger.evidence(taken.detector.model_id, scored.result.alpha)
        result = in_sequence(scored.result, taken.detector, before)
        fact = Manifest(
            **self._common(taken),
            parent_id=parent.delivery_id if parent else None,
            base_rows=parent.base_rows + parent.rows_total if parent else 0,
            continues=scored.continues,
            lines=scored.lines,
            result_name=job.delivery_id + job.suffix,
            result_sha256=scored.result_sha256,
            alerts_sha256=scored.alerts_sha256,
            result=result,
        )
        alerts = Path(job.alerts) if result.flagged else None
        self.store.commit(fact, Path(job.result), alerts, taken.arrival.stat)
        self.severities.merge(scored.tenths)
        return fact

    def _refuse(self, taken: Taken, error: DataError) -> Later | Quarantined:
        """Quarantine, but not before the file has been still for so long that nobody is writing it."""
        arrival = taken.arrival
        patience = NUL_PATIENCE if error.code == "nul_tail" and self.patient else (1 + UNENDED) * self.settle
        if arrival.quiet < patience and not self.trusted and error.code != "crashes_scorer":
            return Later(error.code, patience - arrival.quiet)
        fact = Quarantined(
            **self._common(taken),
            reason_code=error.code,
            message=error.message,
            line=error.line,
            column=error.column,
            offset=error.offset,
            excerpt="" if taken.detector.schema.redacted else excerpt.around(taken.file, error.line, error.offset),
            retry=f"anomvae retry {self.store.out} {taken.job.delivery_id}",
        )
        self.store.put_in_quarantine(fact, arrival.stat)
        self._deaths.pop(arrival.path, None)
        return fact

    def _common(self, taken: Taken) -> dict[str, Any]:
        """What both kinds of facts say."""
        ledger, arrival, job = self.store.ledger, taken.arrival, taken.job
        return {
            "sequence": ledger.next_sequence(),
            "delivery_id": job.delivery_id,
            "file": job.name,
            "path_base64": encoded(arrival.path),
            "generation": ledger.generations(arrival.path) + 1,
            "sha256": job.sha256,
            "size": arrival.stat.size,
            "move": self.watch.after == "move",
            "model_id": taken.detector.model_id,
            "version": anomvae.__version__,
            "committed_utc": self._now().isoformat(timespec="seconds"),
        }

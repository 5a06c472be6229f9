"""One settled file to one fact: committed, quarantined, known already, or to be looked at again.

What a file is (DataError) puts it in quarantine. What kills the scorer, or is a bug, puts it under suspicion, and
next time it is scored in a child process; two dead children are proof. Faults of the machine are not caught here.
"""

import os
import stat as modes
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import msgspec

import anomvae
from anomvae.deliveries import Manifest, Quarantined
from anomvae.errors import AnomvaeError, DataError, EnvironmentFault
from anomvae.inbox.scanner import stat_of
from anomvae.inbox.settler import UNENDED, Arrival
from anomvae.model.detector import Detector
from anomvae.pipeline import excerpt
from anomvae.pipeline.deliver import ChangedError, DroppedError, Job, Scored, fingerprint, work
from anomvae.pipeline.isolate import DiedError, isolated
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
        open_file: opens a path of the input folder.
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
        open_file: Callable[[bytes], int],
        tick: Callable[[], None],
        note: Callable[[str], None],
        now: Callable[[], datetime],
    ) -> None:
        self.store, self.model, self.settings, self.watch = store, model, settings, watch
        self.settle, self.patient, self.trusted = settle, patient, trusted
        self._open, self._tick, self._note, self._now = open_file, tick, note, now
        self._deaths: dict[bytes, int] = {}

    def judge(self, arrival: Arrival) -> Outcome:
        """Judge a settled file; a fact is committed when this returns.

        Raises:
            ChangedError: the file changed since it settled.
            EnvironmentFault: the machine failed.
        """
        try:
            descriptor = self._open(arrival.path)
        except FileNotFoundError:
            return Gone()
        except PermissionError:
            return Later("unreadable", self.settle)
        except OSError as error:
            raise EnvironmentFault.of(error, f"{shown(arrival.path)}: cannot be opened") from error
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(file.fileno())
            if not modes.S_ISREG(found.st_mode) or stat_of(found) != arrival.stat:
                raise ChangedError(shown(arrival.path))
            try:
                return self._identify(file, arrival)
            finally:
                self.store.unmark()

    def _identify(self, file: BinaryIO, arrival: Arrival) -> Outcome:
        """Hash the content; what the ledger knows is not read again."""
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
        return self._score(file, arrival, self._job(arrival, name, content.sha256, parent), parent)

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

    def _score(self, file: BinaryIO, arrival: Arrival, job: Job, parent: Entry | None) -> Outcome:
        detector = self.model.current()
        try:
            scored = self._scored(file, job, detector, arrival.path)
        except DataError as error:
            return self._refuse(file, arrival, job, detector, error)
        except (AnomvaeError, ChangedError, DroppedError):
            raise
        except DiedError:
            return Later("its scorer died, will be tried again", self.settle)
        except Exception as error:  # a bug, or no memory: the file is under suspicion from now on
            self.store.ledger.suspect(arrival.path)
            what = "" if detector.schema.redacted else f": {error}"
            self._note(f"{job.name}: {type(error).__name__}{what}; it will be tried again in a process of its own")
            return Later("failed, will be tried again", self.settle)
        return self._commit(arrival, job, detector, scored, parent)

    def _scored(self, file: BinaryIO, job: Job, detector: Detector, path: bytes) -> Scored:
        """In this process, or, where that died over the file before, in a child."""
        if self.store.ledger.crashes(path) < SUSPECT:
            return work(file, job, detector, self._tick)
        try:
            return isolated(file, job, self.model.name, detector.model_id, self._tick)
        except DiedError as death:
            self._deaths[path] = self._deaths.get(path, 0) + 1
            if self._deaths[path] < PROOF:
                raise
            told = f"the scorer dies over this file ({death}); retry it after an upgrade of anomvae"
            raise DataError("crashes_scorer", told) from death

    def _commit(self, arrival: Arrival, job: Job, detector: Detector, scored: Scored, parent: Entry | None) -> Manifest:
        fact = Manifest(
            **self._common(arrival, job, detector),
            parent_id=parent.delivery_id if parent else None,
            base_rows=parent.base_rows + parent.rows_total if parent else 0,
            continues=scored.continues,
            lines=scored.lines,
            result_name=job.delivery_id + job.suffix,
            result_sha256=scored.result_sha256,
            alerts_sha256=scored.alerts_sha256,
            result=scored.result,
        )
        alerts = Path(job.alerts) if scored.result.flagged else None
        self.store.commit(fact, Path(job.result), alerts, arrival.stat)
        return fact

    def _refuse(self, file: BinaryIO, arrival: Arrival, job: Job, detector: Detector, error: DataError) -> Outcome:
        """Quarantine, but not before the file has been still for so long that nobody is writing it."""
        patience = NUL_PATIENCE if error.code == "nul_tail" and self.patient else (1 + UNENDED) * self.settle
        if arrival.quiet < patience and not self.trusted and error.code != "crashes_scorer":
            return Later(error.code, patience - arrival.quiet)
        fact = Quarantined(
            **self._common(arrival, job, detector),
            reason_code=error.code,
            message=error.message,
            line=error.line,
            column=error.column,
            offset=error.offset,
            excerpt="" if detector.schema.redacted else excerpt.around(file, error.line, error.offset),
            retry=f"anomvae retry {self.store.out} {job.delivery_id}",
        )
        self.store.put_in_quarantine(fact, arrival.stat)
        self._deaths.pop(arrival.path, None)
        return fact

    def _common(self, arrival: Arrival, job: Job, detector: Detector) -> dict[str, Any]:
        """What both kinds of facts say."""
        ledger = self.store.ledger
        return {
            "sequence": ledger.next_sequence(),
            "delivery_id": job.delivery_id,
            "file": job.name,
            "path_base64": encoded(arrival.path),
            "generation": ledger.generations(arrival.path) + 1,
            "sha256": job.sha256,
            "size": arrival.stat.size,
            "move": self.watch.after == "move",
            "model_id": detector.model_id,
            "version": anomvae.__version__,
            "committed_utc": self._now().isoformat(timespec="seconds"),
        }

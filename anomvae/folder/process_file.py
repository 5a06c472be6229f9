"""The text around an error in a file, to be shown in a quarantine reason. Whoever prints it has to escape it."""

import os
import stat as modes
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

import anomvae
from anomvae.errors import AnomvaeError, DataError, EnvironmentFault
from anomvae.folder.ledger import Entry
from anomvae.folder.output_folder import delivery_id, encoded, shown
from anomvae.folder.run_context import RunContext
from anomvae.folder.scanner import stat_of
from anomvae.folder.settle import UNENDED, UNREADABLE, Arrival
from anomvae.model.detector import Detector
from anomvae.records.folder import Manifest, Quarantined
from anomvae.scoring.verdict import assess_file
from anomvae.workers.delivery import ChangedError, DroppedError, Job, Scored, fingerprint, score_delivery
from anomvae.workers.pool import Pool, Workers
from anomvae.workers.process import Ticket
from anomvae.workers.protocol import Delivery, FailedError, ModelChangedError, outcome

MOST = 80
FAR = 64 << 20  # bytes that are searched for a line


def around(file: BinaryIO, line: int | None, offset: int | None) -> str:
    """Up to 80 characters of an open file around an offset, or of a line; empty where it cannot be found."""
    if offset is not None:
        return _text(file, max(offset - MOST // 2, 0))
    if line is None:
        return ""
    start = _start(file, line)
    return "" if start is None else _text(file, start).partition("\\n")[0]


def _start(file: BinaryIO, line: int) -> int | None:
    file.seek(0)
    at, number = 0, 1
    while number < line and at < FAR:
        chunk = file.readline(1 << 16)
        if not chunk or b"\r" in chunk.removesuffix(b"\r\n"):  # other line ends: the count would be wrong
            return None
        at += len(chunk)
        number += chunk.endswith(b"\n")
    return at if number == line else None


def _text(file: BinaryIO, at: int) -> str:
    file.seek(at)
    text = file.read(MOST).decode("utf-8", "backslashreplace")
    return text.encode("unicode_escape").decode("ascii")[:MOST]


SECONDS = 120.0  # to which a second for every megabyte is added


class DiedError(Exception):
    """The worker died over the file; the message says how."""


def isolated(file: BinaryIO, task: Delivery, tick: Callable[[], None]) -> Scored:
    """Score an open file in a worker of its own.

    Raises:
        DataError: the file is refused.
        ChangedError: the file, or the model, is no longer the one of the task.
        DiedError: the worker died, or ran out of memory or time.
        EnvironmentFault: the worker could not be started, or met a fault of the machine.
    """
    started, allowed = time.monotonic(), SECONDS + os.fstat(file.fileno()).st_size / 1e6

    def watched() -> None:
        tick()
        if time.monotonic() - started > allowed:
            raise DiedError(f"took more than {allowed:.0f} s")

    pool = Pool(1, limited=True)
    try:
        return outcome(pool.answer(pool.submit(task, file.fileno()), watched), Scored)
    except ModelChangedError as replaced:
        raise ChangedError from replaced
    except FailedError as failed:
        raise DiedError(str(failed)) from failed
    finally:
        pool.close()


SUSPECT = 2  # crashes over a file after which it is scored in a child process
PROOF = 2  # child processes that died over a file, after which it is quarantined
NUL_PATIENCE = 600.0  # seconds: a preallocated file is filled in, or is not


class Retry(msgspec.Struct, frozen=True):
    """Look at the file again after so many seconds, or when it has changed."""

    reason: str
    seconds: float


class Duplicate(msgspec.Struct, frozen=True):
    """This content was processed before under this path."""


class Vanished(msgspec.Struct, frozen=True):
    """The file is not there any more."""


class InFlight(msgspec.Struct, eq=False):
    """A new file that was opened and hashed and is to be finished; `ticket` where a worker scores it."""

    arrival: Arrival
    file: BinaryIO
    job: Job
    detector: Detector
    parent: Entry | None
    ticket: Ticket | None = None


Outcome = Manifest | Quarantined | Retry | Duplicate | Vanished


class FileProcessor:
    """Processes files of the input folder, one after the other or with workers.

    Args:
        context: the parts of the run.
        workers: who scores; None: this process, or `settings.jobs` worker processes of it.
        tick: called between any two steps; it may raise to give the file up.
    """

    def __init__(self, context: RunContext, workers: Workers | None, tick: Callable[[], None]) -> None:
        self._context, self._tick = context, tick
        self._store, self._inbox = context.store, context.inbox
        self._deaths: dict[bytes, int] = {}  # child processes that died over a path
        self._folder = os.fsencode(context.inbox.folder.absolute())
        jobs = context.settings.jobs
        self._workers = workers or (Pool(jobs) if jobs > 1 else None)

    @property
    def ahead(self) -> int:
        """Files that may be under way before the oldest has to be finished."""
        return self._workers.ahead if self._workers else 0

    def start(self, arrival: Arrival) -> InFlight | Outcome:
        """Open and hash a settled file, and hand it to a worker, if there are any. What is in flight must be finished.

        Raises:
            ChangedError: the file changed since it settled.
            EnvironmentFault: the machine failed.
        """
        try:
            descriptor = self._inbox.open(arrival.path)
        except FileNotFoundError:
            return Vanished()
        except PermissionError:
            return Retry(UNREADABLE, self._inbox.settler.settle)
        except OSError as error:
            raise EnvironmentFault.of(error, f"{shown(arrival.path)}: cannot be opened") from error
        file = os.fdopen(descriptor, "rb")
        found: InFlight | Outcome = Vanished()
        try:
            state = os.fstat(descriptor)
            if not modes.S_ISREG(state.st_mode) or stat_of(state) != arrival.stat:
                raise ChangedError(shown(arrival.path))
            found = self._identify(file, arrival)
        finally:
            if not isinstance(found, InFlight):
                self._let_go(arrival.path, file)
        return found

    def finish(self, in_flight: InFlight) -> Outcome:
        """Score a file in flight, or wait for its worker, and commit the outcome.

        Raises:
            ChangedError: the file changed while it was read.
            EnvironmentFault: the machine failed.
        """
        try:
            scored = self._scored(in_flight)
        except DataError as error:
            return self._refuse(in_flight, error)
        except (AnomvaeError, ChangedError, DroppedError):
            raise
        except DiedError:
            return Retry("scorer_died", self._inbox.settler.settle)
        except Exception as error:  # a bug, or no memory: the file is under suspicion from now on
            self._store.ledger.suspect(in_flight.arrival.path)
            told = str(error) if isinstance(error, FailedError) else f"{type(error).__name__}: {error}"
            told = "its scorer failed" if in_flight.detector.schema.redacted else told  # an error may quote a cell
            self._context.say(f"{in_flight.job.name}: {told}; it will be tried again in a process of its own")
            return Retry("scorer_failed", self._inbox.settler.settle)
        else:
            return self._commit(in_flight, scored)
        finally:
            self.give_up(in_flight)

    def give_up(self, in_flight: InFlight) -> None:
        """Close a file in flight as if it had never been started."""
        self._let_go(in_flight.arrival.path, in_flight.file)

    def close(self) -> None:
        """End the workers."""
        if self._workers:
            self._workers.close()

    def _let_go(self, path: bytes, file: BinaryIO) -> None:
        file.close()
        self._store.unmark(path)

    def _identify(self, file: BinaryIO, arrival: Arrival) -> InFlight | Duplicate:
        ledger, path = self._store.ledger, arrival.path
        self._store.mark(path)
        last = ledger.last_committed(path)
        base = last.size if last and last.continues and last.size < arrival.stat.size else 0
        content = fingerprint(file, base, self._tick)
        if ledger.find(path, content.sha256):
            return Duplicate()
        parent = last if base and last and content.base.hexdigest() == last.sha256 else None
        name = delivery_id(path, content.sha256)
        self._store.mark(path, name)
        job, detector = self._job(arrival, name, content.sha256, parent), self._context.model.current()
        in_flight = InFlight(arrival, file, job, detector, parent)
        if self._workers and ledger.crashes(path) < SUSPECT:
            in_flight.ticket = self._workers.submit(self._task(in_flight), file.fileno())
        return in_flight

    def _job(self, arrival: Arrival, name: str, sha256: str, parent: Entry | None) -> Job:
        suffix = f".{self._context.watch.format}"
        return Job(
            name=shown(arrival.path),
            delivery_id=name,
            sha256=sha256,
            settings=self._context.settings,
            suffix=suffix,
            result=str(self._store.temporary(suffix)),
            alerts=str(self._store.temporary(".alerts")),
            target=str(self._store.results / (name + suffix)),
            base_size=parent.size if parent else 0,
            base_lines=parent.lines if parent else 0,
        )

    def _task(self, in_flight: InFlight) -> Delivery:
        path = os.path.join(self._folder, in_flight.arrival.path)  # noqa: PTH118 (bytes)
        return Delivery(in_flight.job, self._context.model.name, in_flight.detector.model_id, path)

    def _scored(self, in_flight: InFlight) -> Scored:
        """The scores from a worker or this process; from a child process where scorers crashed over the file before."""
        path = in_flight.arrival.path
        if in_flight.ticket and self._workers:
            with suppress(ModelChangedError):  # this process still has the model that the worker cannot load
                return outcome(self._workers.answer(in_flight.ticket, self._tick), Scored)
        if self._store.ledger.crashes(path) < SUSPECT:
            return score_delivery(in_flight.file, in_flight.job, in_flight.detector, self._tick)
        try:
            return isolated(in_flight.file, self._task(in_flight), self._tick)
        except DiedError as death:
            self._deaths[path] = self._deaths.get(path, 0) + 1
            if self._deaths[path] < PROOF:
                raise
            told = f"the scorer dies over this file ({death}); retry it after an upgrade of anomvae"
            raise DataError("crashes_scorer", told) from death

    def _commit(self, in_flight: InFlight, scored: Scored) -> Manifest:
        job, parent = in_flight.job, in_flight.parent
        previous = self._store.ledger.evidence(in_flight.detector.model_id, scored.summary.alpha)
        result = assess_file(scored.summary, in_flight.detector, previous)
        fact = Manifest(
            **self._common(in_flight),
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
        update = self._context.messages_for(fact)
        self._store.commit(fact, Path(job.result), alerts, in_flight.arrival.stat, update)
        self._context.progress.severities.merge(scored.tenths)
        return fact

    def _refuse(self, in_flight: InFlight, error: DataError) -> Retry | Quarantined:
        """Quarantine, but not before the file has been still for so long that nobody is writing it."""
        arrival = in_flight.arrival
        patience = (
            NUL_PATIENCE
            if error.code == "nul_tail" and self._context.patient
            else (1 + UNENDED) * self._inbox.settler.settle
        )
        if arrival.quiet < patience and not self._inbox.settler.trusted and error.code != "crashes_scorer":
            return Retry(error.code, patience - arrival.quiet)
        fact = Quarantined(
            **self._common(in_flight),
            reason_code=error.code,
            message=error.message,
            line=error.line,
            column=error.column,
            offset=error.offset,
            excerpt="" if in_flight.detector.schema.redacted else around(in_flight.file, error.line, error.offset),
            retry=f"anomvae retry {self._store.out} {in_flight.job.delivery_id}",
        )
        self._store.put_in_quarantine(fact, arrival.stat, self._context.messages_for(fact))
        self._deaths.pop(arrival.path, None)
        return fact

    def _common(self, in_flight: InFlight) -> dict[str, Any]:
        """The fields that manifests and quarantine reasons share."""
        ledger, arrival, job = self._store.ledger, in_flight.arrival, in_flight.job
        return {
            "sequence": ledger.next_sequence(),
            "delivery_id": job.delivery_id,
            "file": job.name,
            "path_base64": encoded(arrival.path),
            "generation": ledger.generations(arrival.path) + 1,
            "sha256": job.sha256,
            "size": arrival.stat.size,
            "move": self._context.watch.after == "move",
            "model_id": in_flight.detector.model_id,
            "version": anomvae.__version__,
            "committed_utc": self._context.now().isoformat(timespec="seconds"),
        }

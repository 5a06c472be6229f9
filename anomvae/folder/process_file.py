"""Process one file of the input folder: open and hash it, have it scored, and commit the scores or the refusal.

The work is split in two. `start` opens and hashes a file, and hands it to a worker if there are any; `finish` waits for
the scores and commits them. A file over which scorers died before is scored in a child process of its own, with limits
of memory and time; when child processes die over it, too, it is put in quarantine.
"""

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
from anomvae.folder.output_folder import delivery_id, path_text
from anomvae.folder.run_context import RunContext
from anomvae.folder.scanner import stat_of
from anomvae.folder.settle import UNENDED, UNREADABLE, Arrival
from anomvae.model.detector import Detector
from anomvae.records.folder import Manifest, Quarantined, encode_path
from anomvae.scoring.verdict import assess_file
from anomvae.workers.delivery import ChangedError, DroppedError, Job, Scored, fingerprint, score_delivery
from anomvae.workers.pool import Pool, Workers
from anomvae.workers.process import Ticket
from anomvae.workers.protocol import Delivery, FailedError, ModelChangedError, outcome

SUSPECT = 2  # crashes over a file after which it is scored in a child process
PROOF = 2  # child processes that died over a file, after which it is quarantined
TIME_LIMIT = 120.0  # seconds that a child process may take, and one more for every megabyte of the file
NUL_PATIENCE = 600.0  # seconds of stillness before NUL bytes at the end are refused: a preallocated file gets filled in
EXCERPT = 80  # characters shown of the text around an error
MOST_SEARCHED = 64 << 20  # bytes that are searched for the line of an error


class DiedError(Exception):
    """The child process died over the file; the message says how."""


class Retry(msgspec.Struct, frozen=True):
    """The file is to be looked at again after some seconds, or when it has changed.

    Attributes:
        reason: the code of why (settle.py).
        seconds: how long to wait.
    """

    reason: str
    seconds: float


class Duplicate(msgspec.Struct, frozen=True):
    """This content was processed before under this path."""


class Vanished(msgspec.Struct, frozen=True):
    """The file is not there any more."""


class InFlight(msgspec.Struct, eq=False):
    """A new file that was opened and hashed and is to be finished.

    Attributes:
        arrival: the file as it settled.
        file: the file, open.
        job: what to score, and where to write.
        detector: the model that was in use when it was started.
        parent: the earlier version of the file, of which it is a continuation; None where it is scored as a whole.
        ticket: identifies the work of a worker; None where this process scores it.
    """

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
        workers: where files are scored; None for this process, or `settings.jobs` worker processes of it.
        tick: called between any two steps; it may raise to give the file up.
    """

    def __init__(self, context: RunContext, workers: Workers | None, tick: Callable[[], None]) -> None:
        self._context, self._tick = context, tick
        self._output, self._inbox = context.output, context.inbox
        self._deaths: dict[bytes, int] = {}  # child processes that died, by the path of their file
        self._folder = os.fsencode(context.inbox.folder.absolute())
        jobs = context.settings.jobs
        self._workers = workers or (Pool(jobs) if jobs > 1 else None)

    @property
    def ahead(self) -> int:
        """Files that may be under way before the oldest has to be finished."""
        return self._workers.ahead if self._workers else 0

    def start(self, arrival: Arrival) -> InFlight | Outcome:
        """Open and hash a settled file, and hand it to a worker if there are any.

        Returns:
            The file in flight, which has to be finished or given up; or what became of it at once.

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
            raise EnvironmentFault.of(error, f"{path_text(arrival.path)}: cannot be opened") from error
        file = os.fdopen(descriptor, "rb")
        found: InFlight | Outcome = Vanished()
        try:
            state = os.fstat(descriptor)
            if not modes.S_ISREG(state.st_mode) or stat_of(state) != arrival.stat:
                raise ChangedError(path_text(arrival.path))
            found = self._identify(file, arrival)
        finally:
            if not isinstance(found, InFlight):
                self._close(arrival.path, file)
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
        except Exception as error:  # a bug, or no memory: the file is a suspect from now on
            self._output.ledger.suspect(in_flight.arrival.path)
            text = str(error) if isinstance(error, FailedError) else f"{type(error).__name__}: {error}"
            text = "its scorer failed" if in_flight.detector.schema.redacted else text  # an error may quote a cell
            self._context.say(f"{in_flight.job.name}: {text}; it will be tried again in a process of its own")
            return Retry("scorer_failed", self._inbox.settler.settle)
        else:
            return self._commit(in_flight, scored)
        finally:
            self.give_up(in_flight)

    def give_up(self, in_flight: InFlight) -> None:
        """Close a file in flight as if it had never been started."""
        self._close(in_flight.arrival.path, in_flight.file)

    def close(self) -> None:
        """End the workers."""
        if self._workers:
            self._workers.close()

    def _close(self, path: bytes, file: BinaryIO) -> None:
        """Close a file, which is in progress no more."""
        file.close()
        self._output.clear_in_progress(path)

    def _identify(self, file: BinaryIO, arrival: Arrival) -> InFlight | Duplicate:
        """Hash an open file and look it up in the ledger; a file with new content is handed to a worker."""
        ledger, path = self._output.ledger, arrival.path
        self._output.set_in_progress(path)
        last = ledger.last_committed(path)
        base = last.size if last and last.continues and last.size < arrival.stat.size else 0
        content = fingerprint(file, base, self._tick)
        if ledger.find(path, content.sha256):
            return Duplicate()
        parent = last if base and last and content.base.hexdigest() == last.sha256 else None
        name = delivery_id(path, content.sha256)
        self._output.set_in_progress(path, name)
        job, detector = self._job(arrival, name, content.sha256, parent), self._context.model.current()
        in_flight = InFlight(arrival, file, job, detector, parent)
        if self._workers and ledger.crashes(path) < SUSPECT:
            in_flight.ticket = self._workers.submit(self._task(in_flight), file.fileno())
        return in_flight

    def _job(self, arrival: Arrival, name: str, sha256: str, parent: Entry | None) -> Job:
        """What is to be scored, and where the scores go; `name` is the id of the delivery."""
        suffix = f".{self._context.watch.format}"
        return Job(
            name=path_text(arrival.path),
            delivery_id=name,
            sha256=sha256,
            settings=self._context.settings,
            suffix=suffix,
            result=str(self._output.temporary(suffix)),
            alerts=str(self._output.temporary(".alerts")),
            target=str(self._output.results / (name + suffix)),
            base_size=parent.size if parent else 0,
            base_lines=parent.lines if parent else 0,
            base_counters=parent.counters if parent else {},
        )

    def _task(self, in_flight: InFlight) -> Delivery:
        """The job as a worker gets it: with the path of the file and the model that it has to use."""
        path = os.path.join(self._folder, in_flight.arrival.path)  # noqa: PTH118 (bytes)
        return Delivery(in_flight.job, self._context.model.name, in_flight.detector.model_id, path)

    def _scored(self, in_flight: InFlight) -> Scored:
        """The scores, from a worker or this process; from a child process where scorers crashed before."""
        path = in_flight.arrival.path
        if in_flight.ticket and self._workers:
            with suppress(ModelChangedError):  # this process still has the model that the worker cannot load
                return outcome(self._workers.answer(in_flight.ticket, self._tick), Scored)
        if self._output.ledger.crashes(path) < SUSPECT:
            return score_delivery(in_flight.file, in_flight.job, in_flight.detector, self._tick)
        try:
            return _score_in_child(in_flight.file, self._task(in_flight), self._tick)
        except DiedError as death:
            self._deaths[path] = self._deaths.get(path, 0) + 1
            if self._deaths[path] < PROOF:
                raise
            message = f"the scorer dies over this file ({death}); retry it after an upgrade of anomvae"
            raise DataError("crashes_scorer", message) from death

    def _commit(self, in_flight: InFlight, scored: Scored) -> Manifest:
        """Make the scores official, with the verdict on the file."""
        job, parent = in_flight.job, in_flight.parent
        previous = self._output.ledger.evidence(in_flight.detector.model_id, scored.summary.alpha)
        result = assess_file(scored.summary, in_flight.detector, previous)
        fact = Manifest(
            **self._common(in_flight),
            parent_id=parent.delivery_id if parent else None,
            base_rows=parent.base_rows + parent.rows_total if parent else 0,
            continues=scored.continues,
            lines=scored.lines,
            counters=scored.counters,
            result_name=job.delivery_id + job.suffix,
            result_sha256=scored.result_sha256,
            alerts_sha256=scored.alerts_sha256,
            result=result,
        )
        alerts = Path(job.alerts) if result.flagged else None
        update = self._context.messages_for(fact)
        self._output.commit(fact, Path(job.result), alerts, in_flight.arrival.stat, update)
        self._context.progress.severities.merge(scored.tenths)
        return fact

    def _refuse(self, in_flight: InFlight, error: DataError) -> Retry | Quarantined:
        """Put a file in quarantine, but not before it has been still for so long that no process is writing it."""
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
            excerpt="" if in_flight.detector.schema.redacted else excerpt(in_flight.file, error.line, error.offset),
            retry=f"anomvae retry {self._output.out} {in_flight.job.delivery_id}",
        )
        self._output.put_in_quarantine(fact, arrival.stat, self._context.messages_for(fact))
        self._deaths.pop(arrival.path, None)
        return fact

    def _common(self, in_flight: InFlight) -> dict[str, Any]:
        """The fields that manifests and quarantine reasons share."""
        ledger, arrival, job = self._output.ledger, in_flight.arrival, in_flight.job
        return {
            "sequence": ledger.next_sequence(),
            "delivery_id": job.delivery_id,
            "file": job.name,
            "path_base64": encode_path(arrival.path),
            "generation": ledger.generations(arrival.path) + 1,
            "sha256": job.sha256,
            "size": arrival.stat.size,
            "move": self._context.watch.after == "move",
            "model_id": in_flight.detector.model_id,
            "version": anomvae.__version__,
            "committed_utc": self._context.now().isoformat(timespec="seconds"),
        }


def _score_in_child(file: BinaryIO, task: Delivery, tick: Callable[[], None]) -> Scored:
    """Score an open file in a child process of its own, with limits of memory and time.

    Raises:
        DataError: the file is refused.
        ChangedError: the file, or the model, is no longer the one of the task.
        DiedError: the child process died, or ran out of memory or time.
        EnvironmentFault: it could not be started, or met a fault of the machine.
    """
    started, allowed = time.monotonic(), TIME_LIMIT + os.fstat(file.fileno()).st_size / 1e6

    def tick_in_time() -> None:
        tick()
        if time.monotonic() - started > allowed:
            raise DiedError(f"took more than {allowed:.0f} s")

    pool = Pool(1, limited=True)
    try:
        return outcome(pool.answer(pool.submit(task, file.fileno()), tick_in_time), Scored)
    except ModelChangedError as replaced:
        raise ChangedError from replaced
    except FailedError as failed:
        raise DiedError(str(failed)) from failed
    finally:
        pool.close()


def excerpt(file: BinaryIO, line: int | None, offset: int | None) -> str:
    """The text around an error, escaped to printable ASCII.

    Args:
        file: the open file.
        line: the physical line of the error, counted from 1; None where it is not known.
        offset: the byte of the error, counted from 0; None where it is not known.

    Returns:
        Up to 80 characters around the offset, or of the line; empty where the place cannot be found.
    """
    if offset is not None:
        return _escaped_text(file, max(offset - EXCERPT // 2, 0))
    start = None if line is None else _start_of_line(file, line)
    return "" if start is None else _escaped_text(file, start).partition("\\n")[0]


def _start_of_line(file: BinaryIO, line: int) -> int | None:
    file.seek(0)
    at, number = 0, 1
    while number < line and at < MOST_SEARCHED:
        chunk = file.readline(1 << 16)
        if not chunk or b"\r" in chunk.removesuffix(b"\r\n"):  # other line ends: the count would be wrong
            return None
        at += len(chunk)
        number += chunk.endswith(b"\n")
    return at if number == line else None


def _escaped_text(file: BinaryIO, at: int) -> str:
    file.seek(at)
    text = file.read(EXCERPT).decode("utf-8", "backslashreplace")
    return text.encode("unicode_escape").decode("ascii")[:EXCERPT]

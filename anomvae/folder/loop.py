"""The loop of `watch` and `score FOLDER`: settled files come in, each is processed, committed and reported.

    for arrival in inbox: health.beat(); stop.check(); process the file; commit; report; archive

One thread does all of this. Health is published and the stop conditions are checked between any two steps of the work,
so that a health file that stays fresh proves that the work goes on. With several jobs, workers score files side by
side, but this thread alone starts and commits them, in the order of their arrival. When the machine fails, for example
because the disk is full, `watch` waits and tries again, `score` ends, and no file is blamed.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

from anomvae.errors import EnvironmentFault, UnsyncedError
from anomvae.folder.archive import Archive
from anomvae.folder.health import HealthReporter
from anomvae.folder.output_folder import path_text
from anomvae.folder.process_file import Duplicate, FileProcessor, InFlight, Outcome, Retry
from anomvae.folder.run_context import RunContext
from anomvae.folder.settle import CHANGED, Arrival
from anomvae.folder.stop import StopConditions
from anomvae.records.folder import Manifest, Quarantined
from anomvae.workers.delivery import ChangedError, DroppedError
from anomvae.workers.pool import Workers

LONGEST_PAUSE = 60.0  # seconds between two attempts when the machine fails


class FolderLoop:
    """Processes the files of a folder.

    Args:
        context: the parts of the run.
        health: publishes how the run is doing.
        stop: decides when it ends.
        workers: where files are scored; None for this process, or `settings.jobs` processes of this machine.
    """

    def __init__(
        self, context: RunContext, health: HealthReporter, stop: StopConditions, workers: Workers | None = None
    ) -> None:
        self.context, self.health, self.stop = context, health, stop
        self._inbox, self._output, self._progress = context.inbox, context.output, context.progress
        self._archive = Archive(context.inbox.scanner, context.output, context.say)
        self._processor = FileProcessor(context, workers, self.tick)
        self._in_flight: dict[bytes, InFlight] = {}  # files under way by their paths, in the order of their commits
        self._pause = 1.0

    def run(self, arrivals: Iterator[Arrival | None]) -> None:
        """Process files as they arrive, until there are no more, or the run has to end.

        Args:
            arrivals: settled files; None where there is none at the moment.

        Raises:
            EnvironmentFault: the machine failed, and this run does not wait; or an fsync failed.
        """
        self._archive.finish_pending()
        try:
            for arrival in arrivals:
                self.tick()
                if arrival is None:
                    self._finish_all_but(0)
                    self._waiting_out_faults(None, self._housekeeping)
                elif arrival.path not in self._in_flight:
                    self._waiting_out_faults(arrival, partial(self._start, arrival))
                    self._finish_all_but(self._processor.ahead)
            self._finish_all_but(0)
            self._remove_leftovers()
        except DroppedError:
            self._processor.close()
            self._output.renew()
        finally:
            self._processor.close()
            for in_flight in self._in_flight.values():
                self._processor.give_up(in_flight)
        self.context.seen.write()

    def tick(self) -> None:
        """Publish health and check whether the run has to end; called between any two steps of the work.

        Raises:
            DroppedError: the files under way must be given up now.
        """
        self.health.beat()
        self.stop.check()

    def _start(self, arrival: Arrival) -> None:
        """Start a file, or record what became of it where there is nothing to score."""
        with self._working_on(arrival):
            started = self._processor.start(arrival)
            if isinstance(started, InFlight):
                self._in_flight[arrival.path] = started
            else:
                self._record(arrival, started)
                self._machine_works()

    def _finish_all_but(self, most: int) -> None:
        """Finish files in the order in which they were started, until at most `most` are under way."""
        while len(self._in_flight) > most:
            in_flight = next(iter(self._in_flight.values()))
            self._waiting_out_faults(in_flight.arrival, partial(self._finish, in_flight))

    def _finish(self, in_flight: InFlight) -> None:
        """Commit a file under way, and record what became of it."""
        with self._working_on(in_flight.arrival):
            try:
                outcome = self._processor.finish(in_flight)
            finally:
                del self._in_flight[in_flight.arrival.path]
            self._record(in_flight.arrival, outcome)
            self._machine_works()

    @contextmanager
    def _working_on(self, arrival: Arrival) -> Iterator[None]:
        """Note which file is being worked on; one that changes meanwhile is looked at again later."""
        self._progress.inflight = path_text(arrival.path)
        try:
            yield
        except ChangedError:
            self._put_off(arrival, Retry(CHANGED, self._inbox.settler.settle))
        finally:
            self._progress.inflight = ""
            self._progress.last_work = self.context.clock()

    def _record(self, arrival: Arrival, outcome: Outcome) -> None:
        """Count, report and archive what became of a file."""
        context, progress = self.context, self._progress
        if isinstance(outcome, Retry):
            self._put_off(arrival, outcome)
            return
        self._inbox.done(arrival.path)
        if isinstance(outcome, Duplicate):
            progress.count_duplicate()
            context.seen.add_duplicate(arrival.path, arrival.stat)
        elif isinstance(outcome, Manifest | Quarantined):
            refused = isinstance(outcome, Quarantined)
            context.seen.add_committed(arrival.path, arrival.stat)
            if refused:
                self._remove_leftovers()
            progress.count(outcome)
            context.say(outcome.result if isinstance(outcome, Manifest) else outcome)
            if outcome.move:
                self._archive.move(arrival.path, outcome.delivery_id, outcome.sha256, quarantined=refused)

    def _put_off(self, arrival: Arrival, retry: Retry) -> None:
        """Have a file wait, to be started again later."""
        self._remove_leftovers()
        self._inbox.hold(arrival.path, retry.reason, retry.seconds)

    def _waiting_out_faults(self, arrival: Arrival | None, step: Callable[[], None]) -> None:
        """Take a step; where the machine fails, wait a while before the next one, or end the run."""
        try:
            step()
        except UnsyncedError:
            raise
        except EnvironmentFault as fault:
            self._pause_after(fault, arrival)

    def _pause_after(self, fault: EnvironmentFault, arrival: Arrival | None) -> None:
        """Wait after a fault of the machine, each time for longer; a run that does not wait ends with the fault."""
        if not self.context.patient:
            raise fault
        with suppress(EnvironmentFault):
            self._remove_leftovers()
        if self._progress.paused != fault.code:
            self.context.say(f"paused: {fault} Nothing is lost; trying again.")
        self._progress.paused = fault.code
        until = self.context.clock() + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        if arrival is not None:
            self._inbox.hold(arrival.path, fault.code, 0.0)
        while self.context.clock() < until and not self._inbox.stop:
            self.tick()
            time.sleep(0.2)

    def _machine_works(self) -> None:
        """Note that a step went well; after a pause, remove what the faults have left behind."""
        if self._progress.paused:
            self._remove_leftovers()
        self._pause, self._progress.paused = 1.0, ""

    def _remove_leftovers(self) -> None:
        """Remove temporary files, except those of the files under way."""
        self._output.renew({name for one in self._in_flight.values() for name in one.job.temporary()})

    def _housekeeping(self) -> None:
        """Keep the states of files up to date while no file is there to be processed."""
        seen = self.context.seen
        seen.write()
        seen.reload_if_changed()
        if self._inbox.reachable:
            seen.forget_absent(self._inbox.present)

"""Score several files side by side with worker processes; the results are those of scoring them one after the other.

Workers write into temporary outputs that are opened here. The outputs get their names here, in the order of the files:
where one cannot be written, none of those behind it appears.
"""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, NamedTuple

from anomvae import durable_io
from anomvae.config import ScoreSettings
from anomvae.errors import AnomvaeError, DataError
from anomvae.formats import output_suffix
from anomvae.model.detector import Detector
from anomvae.scoring.file import FileScorer, Progress, shown
from anomvae.scoring.summary import FileSummary
from anomvae.workers.pool import Pool
from anomvae.workers.process import Ticket
from anomvae.workers.protocol import FailedError, File, ModelChangedError, outcome


class ParallelFiles:
    """Scores files with `settings.jobs` worker processes, as a `scoring.file.FilesScorer`.

    Args:
        model: the file that holds the detector; workers load it.
        detector: the fitted model.
        settings: what to write, the false-alarm rate, and how many workers.
        progress: called with every file that is done, and its rows.
    """

    def __init__(self, model: str, detector: Detector, settings: ScoreSettings, progress: Progress) -> None:
        self.model, self.detector, self.settings, self.progress = model, detector, settings, progress

    def __call__(self, files: Sequence[str], outputs: Sequence[str | None]) -> Iterator[FileSummary | DataError]:
        """Score files into outputs; gives the summary of each file, or why it is refused, in their order.

        Raises:
            AnomvaeError: the machine failed, or a worker did.
        """
        pool = Pool(self.settings.jobs)
        under_way: deque[_UnderWay] = deque()
        try:
            for file, output in zip(files, outputs, strict=True):
                under_way.append(self._start(pool, file, output))
                if len(under_way) > pool.ahead:
                    yield self._finish(pool, under_way.popleft())
            while under_way:
                yield self._finish(pool, under_way.popleft())
        finally:
            pool.close()
            for one in under_way:
                with suppress(_AbandonedError), one.stack:
                    raise _AbandonedError

    def _start(self, pool: Pool, file: str, output: str | None) -> "_UnderWay":
        """Open the output and give the file to a worker; standard input, or a name that is no text, is scored here."""
        with ExitStack() as stack:
            out = stack.enter_context(durable_io.replacing(Path(output))) if output else None
            suffix = output_suffix(output) if output else ""
            task = File(file, output or "", suffix, self.settings, self.model, self.detector.model_id)
            scored_here = file == "-" or os.fsencode(file) != file.encode("utf-8", "replace")
            ticket = None if scored_here else pool.submit(task, *((out.fileno(),) if out else ()))
            return _UnderWay(stack.pop_all(), task, out, ticket)

    def _finish(self, pool: Pool, one: "_UnderWay") -> FileSummary | DataError:
        """The summary of a file, whose output has its name now; or why it is refused."""
        try:
            with one.stack:
                return self._summary(pool, one)
        except DataError as error:
            return error
        except FailedError as failed:
            raise AnomvaeError(f"{shown(one.task.name)}: {failed}; nothing of it was written.") from failed

    def _summary(self, pool: Pool, one: "_UnderWay") -> FileSummary:
        file, target, suffix = one.task.name, one.task.target, one.task.suffix
        if one.ticket:
            with suppress(ModelChangedError):  # this process still has the model that the worker cannot load
                summary = outcome(pool.answer(one.ticket, lambda: None), FileSummary)
                self.progress(file, summary.rows)
                return summary
        return FileScorer(file, self.detector, self.settings, self.progress).score(one.out, target, suffix)


class _AbandonedError(Exception):
    """Removes an output that is not finished, raised where its file is left."""


class _UnderWay(NamedTuple):
    """A file that is not finished. Leaving `stack` gives its output the name, or removes the output after an error."""

    stack: ExitStack
    task: File
    out: IO[bytes] | None
    ticket: Ticket | None

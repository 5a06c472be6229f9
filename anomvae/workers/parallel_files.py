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


class Several:
    """Scores files with `settings.jobs` workers; see `score.Scorer`.

    Args:
        model: the file that holds the detector; workers load it.
        detector: the fitted model.
        settings: what to write and tell.
        progress: called with every file and its rows.
    """

    def __init__(self, model: str, detector: Detector, settings: ScoreSettings, progress: Progress) -> None:
        self.model, self.detector, self.settings, self.progress = model, detector, settings, progress

    def __call__(self, files: Sequence[str], targets: Sequence[str | None]) -> Iterator[FileSummary | DataError]:
        """What became of each file.

        Raises:
            AnomvaeError: the machine failed, or a worker did.
        """
        pool = Pool(self.settings.jobs)
        under_way: deque[_UnderWay] = deque()
        try:
            for file, target in zip(files, targets, strict=True):
                under_way.append(self._begun(pool, file, target))
                if len(under_way) > pool.ahead:
                    yield self._ended(pool, under_way.popleft())
            while under_way:
                yield self._ended(pool, under_way.popleft())
        finally:
            pool.close()
            for one in under_way:
                with suppress(_GivenUpError), one.stack:
                    raise _GivenUpError

    def _begun(self, pool: Pool, file: str, target: str | None) -> "_UnderWay":
        """Open the output and give the file to a worker; standard input stays here, and a name that is no text."""
        with ExitStack() as stack:
            out = stack.enter_context(durable_io.replacing(Path(target))) if target else None
            suffix = output_suffix(target) if target else ""
            task = File(file, target or "", suffix, self.settings, self.model, self.detector.model_id)
            here = file == "-" or os.fsencode(file) != file.encode("utf-8", "replace")
            ticket = None if here else pool.submit(task, *((out.fileno(),) if out else ()))
            return _UnderWay(stack.pop_all(), task, out, ticket)

    def _ended(self, pool: Pool, one: "_UnderWay") -> FileSummary | DataError:
        """The result of a file, whose output has its name now; or why it is refused."""
        try:
            with one.stack:
                return self._result(pool, one)
        except DataError as error:
            return error
        except FailedError as failed:
            raise AnomvaeError(f"{shown(one.task.name)}: {failed}; nothing of it was written.") from failed

    def _result(self, pool: Pool, one: "_UnderWay") -> FileSummary:
        file, target, suffix = one.task.name, one.task.target, one.task.suffix
        if one.ticket:
            with suppress(ModelChangedError):  # this process still has the model that the worker cannot load
                summary = outcome(pool.answer(one.ticket, lambda: None), FileSummary)
                self.progress(file, summary.rows)
                return summary
        return FileScorer(file, self.detector, self.settings, self.progress).score(one.out, target, suffix)


class _GivenUpError(Exception):
    """An output is not wanted any more."""


class _UnderWay(NamedTuple):
    """A file that a worker has; leaving `stack` gives its output the name, or removes it after an error."""

    stack: ExitStack
    task: File
    out: IO[bytes] | None
    ticket: Ticket | None

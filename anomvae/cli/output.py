"""What a command prints, and which findings make its exit code 1: results on stdout, everything else on stderr."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from anomvae.records.results import ErrorResult, FileResult, Record
from anomvae.report.sanitize import sanitize

Advance = Callable[[str, int, int], None]

FIRST_LINE, NEXT_LINE = 5.0, 10.0  # seconds until the first line of progress without a terminal, and between lines


class Printer(msgspec.Struct, frozen=True, kw_only=True):
    """Prints for one command, as --json and --quiet ask for it."""

    as_json: bool = False
    quiet: bool = False

    @property
    def silent(self) -> bool:
        """Whether nothing is printed beside the result."""
        return self.as_json or self.quiet

    def result(self, record: Record, render: Callable[[Any], Any], *, stderr: bool = False) -> None:
        """Print a finished command's record: as JSON, as a report, or not at all.

        Args:
            record: what was done.
            render: makes the report; called only when one is wanted.
            stderr: the report goes to stderr, since rows went to stdout.
        """
        stream = sys.stderr if stderr else sys.stdout
        if self.as_json:
            stream.write(msgspec.json.encode(record).decode() + "\n")
        elif not self.quiet:
            from anomvae.report.tables import console

            console(stderr=stderr).print(render(record), crop=False)  # a line that must stay one may be longer

    def note(self, message: str) -> None:
        """A line on stderr, unless --quiet."""
        if not self.quiet:
            note(message)

    def aside(self, message: str) -> None:
        """A line on stderr that only a person has use for: neither with --quiet nor with --json."""
        if not self.silent:
            note(message)

    @contextmanager
    def progress(self) -> Iterator[Advance]:
        """A progress bar on stderr, where stderr is a terminal, else a line now and then; nothing when silent."""
        if self.silent:
            yield lambda stage, done, total: None
            return
        if not sys.stderr.isatty():
            yield ProgressLines(note).advance
            return
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        from anomvae.report.tables import console

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console(stderr=True), transient=True) as bars:
            tasks: dict[str, Any] = {}

            def advance(stage: str, done: int, total: int) -> None:
                if stage not in tasks:
                    tasks[stage] = bars.add_task(sanitize(stage, 40), total=total or None)
                bars.update(tasks[stage], completed=done)

            yield advance


class ProgressLines:
    """Tells of long work in plain lines, for pipes and logs: first after five seconds, then every ten.

    Args:
        write: takes a line.
        clock: seconds that never fall.
    """

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._next = clock() + FIRST_LINE

    def advance(self, stage: str, done: int, total: int) -> None:
        """Note how far a stage is; `total` is 0 where nobody knows."""
        if self._clock() < self._next:
            return
        self._next = self._clock() + NEXT_LINE
        self._write(f"anomvae: {stage} {100 * done // total} %" if total else f"anomvae: {stage}, {done:,} so far")


def note(message: str) -> None:
    """A line on stderr, with --quiet too."""
    sys.stderr.write(f"{sanitize(message, 600)}\n")


def fail(code: str, message: str, exit_code: int, error: BaseException | None, *, as_json: bool) -> None:
    """Print what ended a command: one line on stderr, and with --json an object on stdout.

    Args:
        code: the kind of failure, for programs.
        message: the failure in a sentence.
        exit_code: of the process.
        error: where it came from; it may know a file, a line and a column.
        as_json: whether --json was given.
    """
    sys.stderr.write(f"anomvae: {sanitize(message, 600)}\n")
    if as_json:
        place = {name: getattr(error, name, None) for name in ("file", "line", "column")}
        text = getattr(error, "message", message)
        record = ErrorResult(code=code, message=text, exit_code=exit_code, **place)
        sys.stdout.write(msgspec.json.encode(record).decode() + "\n")


def found(file: FileResult, fail_on: str) -> bool:
    """Whether a file has what `--fail-on` names, so that the exit code is 1."""
    anomalous = file.verdict in ("anomalous", "drifted")
    return {
        "never": False,
        "any": file.flagged > 0 or anomalous,
        "critical": file.critical > 0 or anomalous,
        "file": anomalous,
    }[fail_on]

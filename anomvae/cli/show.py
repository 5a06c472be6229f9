"""How results, talk and progress leave the process: results on stdout, everything else on stderr."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from anomvae.report.cell import plain
from anomvae.results import ErrorResult, Record

Advance = Callable[[str, int, int], None]


def result(record: Record, render: Callable[[Any], Any], *, as_json: bool, quiet: bool, stderr: bool = False) -> None:
    """Print a finished command's record: JSON, a report, or nothing.

    Args:
        record: what was done.
        render: makes the report; called only when one is wanted.
        as_json: one JSON document instead.
        quiet: nothing, unless JSON is asked for.
        stderr: the report goes to stderr, since rows went to stdout.
    """
    stream = sys.stderr if stderr else sys.stdout
    if as_json:
        stream.write(msgspec.json.encode(record).decode() + "\n")
    elif not quiet:
        from anomvae.report.terminal import console

        console(stderr=stderr).print(render(record), crop=False)  # a line that must stay one may be longer


def fail(code: str, message: str, exit_code: int, error: BaseException | None, *, as_json: bool) -> None:
    """One line on stderr; with --json the same as an object on stdout."""
    sys.stderr.write(f"anomvae: {plain(message, 600)}\n")
    if as_json:
        place = {name: getattr(error, name, None) for name in ("file", "line", "column")}
        told = getattr(error, "message", message)
        record = ErrorResult(code=code, message=told, exit_code=exit_code, **place)
        sys.stdout.write(msgspec.json.encode(record).decode() + "\n")


def note(message: str, *, quiet: bool) -> None:
    """A line of talk on stderr."""
    if not quiet:
        sys.stderr.write(f"{plain(message, 600)}\n")


@contextmanager
def progress(*, quiet: bool) -> Iterator[Advance]:
    """A progress bar on stderr, where stderr is a terminal; silent elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield lambda stage, done, total: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from anomvae.report.terminal import console

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,}"), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def advance(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(plain(stage, 40), total=total or None)
            bars.update(tasks[stage], completed=done)

        yield advance

"""anomvae score FOLDER: one pass over a folder or an object store, as cron would start it."""

import heapq
from pathlib import Path

from msgspec.structs import replace

from anomvae.cli import folder, options
from anomvae.cli.options import ScoreRequest
from anomvae.cli.output import Printer, note
from anomvae.config import seconds
from anomvae.errors import UsageError
from anomvae.records.folder import Quarantined
from anomvae.records.results import GRAVITY, ErrorResult, FileResult, ScoreResult

LISTED = 200  # files that the report lists, those most worth a look


def score_folder(name: str, request: ScoreRequest, printer: Printer, *, place: str | None = None) -> int:
    """Score what is new in a folder.

    Args:
        name: the folder.
        request: the options.
        printer: how to print.
        place: the object store that the folder's files were copied from; None where they were not.

    Returns:
        The exit code.
    """
    plan = folder.make_plan("score", name, request)
    plan.place = place
    timeout = request.flags["timeout"]
    plan.timeout = None if timeout is None else seconds(timeout, "--timeout")
    listed, print_line = _Listed(), folder.LinePrinter(plan.settings, Printer(quiet=printer.quiet))

    def say(reported: folder.Reported) -> None:
        listed.add(reported)
        if not printer.as_json or isinstance(reported, str):
            print_line(reported)

    plan.say = say
    summary = folder.run_folder(plan)
    result = _result(plan, summary, listed)
    from anomvae.report.folder import folder_report

    printer.result(result, folder_report)
    if request.report:
        from anomvae.cli.report import write_page
        from anomvae.commands import inspect
        from anomvae.report import html_report
        from anomvae.store import model_file

        detector = model_file.load(plan.model, generator=False)
        page = html_report.of_folder(plan.out, detector, inspect.card_of(detector, plan.model))
        write_page(request.report, page, printer)
    if summary.why == "--timeout":
        note(f"anomvae: ended by --timeout; {len(summary.left):,} files are left for the next run")
    return summary.code


class _Listed:
    """The files of a run that are most worth a look; of many, the others are only counted."""

    def __init__(self) -> None:
        self.files: list[tuple[tuple[float, ...], int, FileResult]] = []
        self.refused: list[Quarantined] = []
        self._count = 0

    def add(self, reported: folder.Reported) -> None:
        if isinstance(reported, Quarantined):
            self.refused = [*self.refused, reported][-LISTED:]
        elif isinstance(reported, FileResult):
            self._count += 1
            gravity = GRAVITY.index(reported.verdict)
            item = ((gravity, -reported.p_file, reported.critical, reported.flagged), -self._count, reported)
            (heapq.heappush if len(self.files) < LISTED else heapq.heappushpop)(self.files, item)

    def in_order(self) -> tuple[FileResult, ...]:
        return tuple(file for _, _, file in sorted(self.files, key=lambda item: -item[1]))


def _result(plan: folder.RunPlan, summary: folder.RunSummary, listed: _Listed) -> ScoreResult:
    counters = summary.counters
    files = listed.in_order()
    return ScoreResult(
        folder=str(plan.folder),
        out=str(plan.out),
        left=summary.left,
        known=counters.duplicates,
        omitted=counters.files - len(files),
        model=plan.model,
        model_id=summary.model_id,
        alpha=summary.alpha,
        rows=counters.rows,
        scored=counters.scored,
        rejected=counters.rejected,
        flagged=counters.flagged,
        critical=counters.critical,
        critical_together=summary.critical,
        files=files,
        refused=tuple(
            ErrorResult(
                code=one.reason_code, message=one.message, exit_code=3, file=one.file, line=one.line, column=one.column
            )
            for one in listed.refused
        ),
        seconds=summary.seconds,
    )


def score_place(name: str, request: ScoreRequest, printer: Printer) -> int:
    """Score what is new in an object store, or in a folder whose results go to an object store.

    Args:
        name: the folder, or the address of the object store.
        request: the options.
        printer: how to print.

    Returns:
        The exit code.
    """
    from anomvae.cluster import Mirror

    config = request.config
    output = request.output or config.out
    state = request.flags["state"] or config.score.state
    source, target = (one if one and "://" in one else None for one in (name, output))
    if not state:
        raise UsageError(f"{source or target}: needs --state DIR, a folder of this machine for ledger and copies.")
    mirror = Mirror(source, target, Path(state))
    watch = options.overlaid(config.watch, request.flags)
    mirror.fetch(watch.pattern, recursive=watch.recursive)
    out = Path(state) / "out" if target or not output else Path(output)
    here = replace(
        request,
        output=str(out),
        config=replace(config, score=replace(config.score, state=None)),
        flags={**request.flags, "state": None},
    )
    code = score_folder(str(mirror.incoming) if source else name, here, printer, place=source)
    if sent := mirror.send(out):
        printer.aside(f"anomvae: {sent:,} results were put in {target}")
    return code

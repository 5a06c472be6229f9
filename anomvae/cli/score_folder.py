"""anomvae score FOLDER: one pass over a folder, for cron."""

import heapq
from pathlib import Path

from msgspec.structs import replace

from anomvae.cli import folder, options
from anomvae.cli.options import ScoreRequest
from anomvae.cli.output import Printer, note
from anomvae.config import seconds
from anomvae.errors import UsageError
from anomvae.records.folder import Quarantined
from anomvae.records.results import ErrorResult, FileResult, ScoreResult

LISTED = 200  # files that are kept for the report, those most worth a look


def score_folder(name: str, request: ScoreRequest, printer: Printer, *, place: str | None = None) -> int:
    """Score what is new in a folder, whose files were copied from a place or not; returns the exit code."""
    plan = folder.planned("score", name, request)
    plan.place = place
    timeout = request.flags["timeout"]
    plan.timeout = None if timeout is None else seconds(timeout, "--timeout")
    listed, plain = _Listed(), folder.LinePrinter(plan.settings, Printer(quiet=printer.quiet))

    def say(said: folder.Said) -> None:
        listed.add(said)
        if not printer.as_json or isinstance(said, str):
            plain(said)

    plan.say = say
    ended = folder.run_folder(plan)
    result = _result(plan, ended, listed)
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
    if ended.why == "--timeout":
        note(f"anomvae: ended by --timeout; {len(ended.left):,} files are left for the next run")
    return ended.code


class _Listed:
    """The files of a run that are most worth a look; of many, the others are only counted."""

    def __init__(self) -> None:
        self.files: list[tuple[tuple[float, ...], int, FileResult]] = []
        self.refused: list[Quarantined] = []
        self._count = 0

    def add(self, said: folder.Said) -> None:
        if isinstance(said, Quarantined):
            self.refused = [*self.refused, said][-LISTED:]
        elif isinstance(said, FileResult):
            self._count += 1
            item = ((-said.p_file, said.critical, said.flagged), -self._count, said)
            (heapq.heappush if len(self.files) < LISTED else heapq.heappushpop)(self.files, item)

    def in_order(self) -> tuple[FileResult, ...]:
        return tuple(file for _, _, file in sorted(self.files, key=lambda item: -item[1]))


def _result(plan: folder.RunPlan, ended: folder.RunSummary, listed: _Listed) -> ScoreResult:
    done = ended.counters
    files = listed.in_order()
    return ScoreResult(
        folder=str(plan.folder),
        out=str(plan.out),
        left=ended.left,
        known=done.duplicates,
        omitted=done.files - len(files),
        model=plan.model,
        model_id=ended.model_id,
        alpha=ended.alpha,
        rows=done.rows,
        scored=done.scored,
        rejected=done.rejected,
        flagged=done.flagged,
        critical=done.critical,
        critical_together=ended.critical,
        files=files,
        refused=tuple(_refused(one) for one in listed.refused),
        seconds=ended.seconds,
    )


def _refused(one: Quarantined) -> ErrorResult:
    return ErrorResult(
        code=one.reason_code, message=one.message, exit_code=3, file=one.file, line=one.line, column=one.column
    )


def score_place(name: str, request: ScoreRequest, printer: Printer) -> int:
    """Score what is new in a place, or in a folder whose results go to a place; returns the exit code."""
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

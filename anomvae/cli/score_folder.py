"""anomvae score FOLDER: one pass over a folder, for cron."""

import heapq
from typing import Any

from anomvae.cli import folder, show
from anomvae.deliveries import Quarantined
from anomvae.results import ErrorResult, FileResult, ScoreResult
from anomvae.settings import Config, seconds

LISTED = 200  # files that are kept for the report, those most worth a look


def score_folder(
    name: str,
    output: str | None,
    report: str | None,
    model: str | None,
    chosen: Config,
    flags: dict[str, Any],
    *,
    place: str | None = None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Score what is new in a folder, whose files were copied from a place or not; returns the exit code."""
    plan = folder.planned("score", name, output, model, chosen, flags)
    plan.place = place
    plan.timeout = None if flags["timeout"] is None else seconds(flags["timeout"], "--timeout")
    listed, plain = _Listed(), folder.LinePrinter(plan.settings, as_json=False, quiet=quiet)

    def say(said: folder.Said) -> None:
        listed.add(said)
        if not as_json or isinstance(said, str):
            plain(said)

    plan.say = say
    ended = folder.run_folder(plan)
    result = _result(plan, ended, listed)
    from anomvae.report.folder import folder_report

    show.result(result, folder_report, as_json=as_json, quiet=quiet)
    if report:
        from anomvae.cli.report import write_page
        from anomvae.pipeline import card, overview
        from anomvae.storage import model_file

        detector = model_file.load(plan.model, generator=False)
        write_page(
            report, overview.of_folder(plan.out, detector, card.card_of(detector, plan.model)), quiet=quiet or as_json
        )
    if ended.why == "--timeout":
        show.note(f"anomvae: ended by --timeout; {len(ended.left):,} files are left for the next run", quiet=False)
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

"""Runs over a folder as rich renderables: a line a delivery, the live screen, the status of an output folder."""

from datetime import datetime
from itertools import pairwise

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from anomvae.records.folder import (
    Counters,
    HealthResult,
    Line,
    Period,
    Quarantined,
    RetryResult,
    StatusResult,
    StoppedResult,
)
from anomvae.records.results import FileResult, ScoreResult, Waits
from anomvae.records.sentences import rejection_sentences
from anomvae.report.sanitize import sanitize
from anomvae.report.terminal import VERDICT, cell, number_column, table, text_column

FIXED = 12  # lines of the screen beside its tables
LONG = 40  # characters of a path
SPARKS = "▁▂▃▄▅▆▇█"
PERIODS = 31  # in the table of the history, the newest; the sparks show all


def delivery_line(said: FileResult | Quarantined, at: str) -> Text:
    """One finished delivery on one line."""
    if isinstance(said, Quarantined):
        place = f":{said.line}" if said.line is not None else ""
        head = Text.assemble(f"{at}  ", ("quarantined", VERDICT["failed"]), f"  {sanitize(said.file + place, 120)}  ")
        return head.append(sanitize(f"{said.message} [{said.reason_code}]", 300))
    line = Text.assemble(f"{at}  ", (f"{said.verdict:11}", VERDICT[said.verdict]), f"  {sanitize(said.file, 120)}  ")
    line.append(f"{said.scored:,} {'new rows' if said.continues else 'rows'}, {said.flagged:,} flagged")
    if said.critical:
        line.append(f", {said.critical:,} critical", VERDICT["anomalous"])
    if said.rejected:
        line.append(f", {said.rejected:,} unreadable", "yellow")
    for text in rejection_sentences(said.why):
        line.append(sanitize(f"  {text}", 300), VERDICT[said.verdict])
    if said.drift and said.drift.told:
        over = f" over {said.drift.files} files" if said.drift.files > 1 else ""
        line.append(sanitize(f"  drift: {said.drift.told[0]}{over}", 160), VERDICT["drifted"])
    if said.worst:
        first = said.worst[0]
        reason = first.reasons[0].text if first.reasons else ""
        line.append(sanitize(f"  worst: line {first.line}, {reason}", 160), "dim")
    return line


def screen(health: HealthResult, notes: tuple[str, ...], height: int) -> RenderableType:
    """The live screen of `watch`, at most `height` lines."""
    room = max(height - FIXED - len(notes) - len(health.problems), 4)
    waiting = health.waiting[: min(max(room // 4, 1), 5)]
    recent = health.recent[-max(room - len(waiting), 3) :]
    style = {"running": "bold green", "paused": "bold yellow"}.get(health.state, "bold")
    places = f"{_end(health.folder)} → {_end(health.out)}"
    head = Text.assemble(("anomvae  ", "bold"), (health.state, style), "  ", places)
    parts: list[RenderableType] = [_cut(head), cell(_model(health), 200, "dim")]
    parts += map(_cut, _counts(health.counters, health.alpha))
    parts += [_cut(_sparkline(health)), _deliveries(recent) if recent else Text("nothing has arrived yet", style="dim")]
    parts += [_waits(waiting, health)]
    parts += [_cut(Text.assemble(("! ", "bold yellow"), sanitize(problem, 160))) for problem in health.problems]
    parts += [cell(note, 200, "dim") for note in notes]
    return Group(*parts)


def _end(path: str) -> str:
    """A path, cut at its start where it is long: its end tells more."""
    text = sanitize(path, 400)
    return text if len(text) <= LONG else f"…{text[1 - LONG :]}"


def _model(health: HealthResult) -> str:
    up = datetime.fromisoformat(health.at_utc) - datetime.fromisoformat(health.started_utc)
    watcher = health.watcher + (f" (started again {health.restarts} times)" if health.restarts else "")
    name = sanitize(health.model, 40)
    return f"model {name} {health.model_id[:12]}  alpha {health.alpha:g}  watcher {watcher}  up {up}"


def _cut(text: Text) -> Text:
    """One line, whatever the width."""
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _counts(done: Counters, alpha: float) -> tuple[Text, Text]:
    rate = f" ({100 * done.flagged / done.scored:.2f} %, normal {100 * alpha:g} %)" if done.scored else ""
    first = Text.assemble((f"{done.files:,}", "bold"), " files  ", (f"{done.rows:,}", "bold"), " rows  ")
    first.append(f"{done.flagged:,} flagged{rate}  ")
    first.append(f"{done.critical:,} critical", VERDICT["anomalous"] if done.critical else "")
    second = Text(f"{done.quarantined:,} quarantined  ", "yellow" if done.quarantined else "dim")
    second.append(f"{done.rejected:,} unreadable rows  ", "yellow" if done.rejected else "dim")
    return first, second.append(f"{done.duplicates:,} repeats", "dim")


def _sparkline(health: HealthResult) -> Text:
    """The newest files' flag rates; a file over three times alpha reaches the top."""
    if not health.rates:
        return Text("flag rate  no file yet", style="dim")
    top = max(3 * health.alpha, *health.rates)
    text = Text("flag rate  ", style="dim")
    for rate in health.rates[-60:]:
        text.append(spark(rate / top), "red" if rate > 3 * health.alpha else "green")
    return text.append(f"  top {100 * top:.1f} %", "dim")


def _deliveries(lines: tuple[Line, ...]) -> Table:
    rows = table(
        text_column("at (UTC)", width=8),
        text_column("verdict", width=9),
        text_column("file", share=2),
        *map(number_column, ("rows", "flagged", "critical")),
        text_column("first reason", share=3),
        expand=True,
    )
    for line in lines:
        style = VERDICT[line.verdict]
        counts = [Text(f"{n:,}") for n in (line.rows, line.flagged, line.critical)]
        text = cell(line.told, 120, "" if line.verdict == "ok" else style)
        rows.add_row(Text(line.at[11:19]), Text(line.verdict, style=style), cell(line.file, 80), *counts, text)
    return rows


def _waits(waiting: tuple[Waits, ...], health: HealthResult) -> RenderableType:
    if not waiting and not health.inflight:
        return Text("waiting for files", style="dim")
    lines: list[RenderableType] = []
    if health.inflight:
        lines.append(_cut(Text.assemble("scoring  ", cell(health.inflight, 80, "bold"))))
    lines += [cell(f"waits    {one.file}  {one.reason}, {one.seconds:.0f} s", 160, "dim") for one in waiting]
    if health.backlog:
        lines.append(Text(f"{health.backlog:,} files in the queue, the oldest for {health.oldest_wait_seconds:.0f} s"))
    return Group(*lines)


def stopped_report(result: StoppedResult) -> str:
    """The last line of a run."""
    done = result.counters
    left = f", {result.left:,} left for the next run" if result.left else ""
    files = f"{done.files:,} file{'s' * (done.files != 1)}, {done.rows:,} rows, {done.flagged:,} flagged"
    return f"ended ({result.why}): {files}, {done.quarantined:,} quarantined{left}"


def folder_report(result: ScoreResult) -> RenderableType:
    """The end of `score FOLDER`; its deliveries were printed line by line."""
    count = len(result.files) + result.omitted
    if not count and not result.refused:
        parts = [Text(f"nothing new in {sanitize(result.folder, 80)}")]
    else:
        total = f"{count:,} new files, {result.rows:,} rows, {result.flagged:,} flagged, {result.critical:,} critical"
        refused = f", {len(result.refused):,} quarantined" if result.refused else ""
        if result.critical_together not in (None, result.critical):
            total += f" ({result.critical_together:,} together)"
        parts = [Text(f"Total: {total}, {result.rejected:,} unreadable rows{refused}", style="bold")]
        parts.append(Text(f"results in {sanitize(result.out, 400)}", style="dim", no_wrap=True, overflow="ignore"))
    parts += [cell(f"left for the next run: {one.file} ({one.reason})", 160, "dim") for one in result.left[:5]]
    if len(result.left) > 5:
        parts.append(Text(f"... and {len(result.left) - 5:,} more files left for the next run", style="dim"))
    return Group(*parts)


def status_report(result: StatusResult) -> RenderableType:
    """What `status` prints."""
    word = ("healthy", "bold green") if result.healthy else ("not healthy", "bold red")
    head = Text.assemble(cell(result.out, 80, "bold"), "  ", word)
    parts: list[RenderableType] = [head]
    parts += [Text.assemble(("! ", "bold red"), sanitize(problem, 200)) for problem in result.problems]
    if (health := result.health) is not None:
        age = f", told {result.age_seconds:.0f} s ago" if result.age_seconds is not None else ""
        parts.append(
            Text(f"{health.mode} of {sanitize(health.folder, 80)}: {health.state}{age}; {_model(health)}", "dim")
        )
    total = Counters(
        files=result.files,
        quarantined=result.quarantined,
        rows=result.rows,
        scored=result.scored,
        rejected=result.rejected,
        flagged=result.flagged,
        critical=result.critical,
    )
    parts += _counts(total, health.alpha if health else 0.01)
    parts += history_lines(result.history, health.alpha if health else 0.01)
    parts += [_deliveries(tuple(reversed(result.recent)))] if result.recent else []
    if messages := result.messages.waiting:
        parts.append(Text(f"{messages:,} message{'s' * (messages > 1)} still to be sent", style="dim"))
    parts += [cell(f"waits: {one.file} ({one.reason}, {one.seconds:.0f} s)", 160) for one in _waiting(health)]
    for one in result.in_quarantine:
        line = Text.assemble(("quarantined ", "yellow"), one.delivery_id[:12], f"  {sanitize(one.file, 60)}  ")
        parts.append(line.append(sanitize(one.told, 200)))
    if result.in_quarantine:
        parts.append(Text(f"to judge one again: anomvae retry {sanitize(result.out, 60)} ID", style="dim"))
    return Group(*parts)


def _waiting(health: HealthResult | None) -> tuple[Waits, ...]:
    return health.waiting[:5] if health is not None and health.state != "stopped" else ()


def retry_report(result: RetryResult) -> RenderableType:
    """What `retry` prints."""
    return Group(*(cell(f"will be judged again: {name}", 160) for name in result.retried))


def spark(share: float) -> str:
    """One figure as a block, by its share of the largest."""
    return SPARKS[min(max(int(share * len(SPARKS)), 0), len(SPARKS) - 1)]


def history_lines(periods: tuple[Period, ...], alpha: float) -> list[RenderableType]:
    """The periods, the oldest first; nothing where none was asked for."""
    if not periods:
        return []
    lines: list[RenderableType] = [
        _sparks("files", [one.files for one in periods]),
        _sparks("rows", [one.rows for one in periods]),
        _rates(periods, alpha),
    ]
    return [*lines, *_model_changes(periods), _periods(periods[-PERIODS:], alpha)]


def _sparks(name: str, values: list[int]) -> Text:
    top = max(values)
    line = "".join(spark(value / top) if value else " " for value in values)
    return Text(f"{name:10} {line}  top {top:,}", no_wrap=True, overflow="ellipsis")


def _rates(periods: tuple[Period, ...], alpha: float) -> Text:
    """Flag rates; one over three times alpha is red, three times alpha reaches the top."""
    top = max([3 * alpha, *(one.flag_rate or 0.0 for one in periods)])
    text = Text(f"{'flag rate':10} ", no_wrap=True, overflow="ellipsis")
    for one in periods:
        rate = one.flag_rate
        text.append(" " if rate is None else spark(rate / top), "red" if (rate or 0.0) > 3 * alpha else "green")
    return text.append(f"  top {100 * top:.1f} %")


def _model_changes(periods: tuple[Period, ...]) -> list[Text]:
    """When another model took over."""
    used = [(one.at, model) for one in periods for model in one.models]
    return [
        Text(f"model {new[:12]} after {old[:12]} at {_when(at)}", "yellow")
        for (_, old), (at, new) in pairwise(used)
        if new != old
    ]


def _periods(periods: tuple[Period, ...], alpha: float) -> Table:
    names = "files", "drifted", "refused", "rows", "flagged", "rate", "critical"
    rows = table(text_column("since (UTC)"), *map(number_column, names))
    for one in periods:
        rate = "" if one.flag_rate is None else f"{100 * one.flag_rate:.2f} %"
        style = "red" if (one.flag_rate or 0.0) > 3 * alpha else ""
        counts = [f"{n:,}" for n in (one.files, one.drifted, one.quarantined, one.rows, one.flagged)]
        idle = "" if one.files or one.quarantined else "dim"
        rows.add_row(_when(one.at), *counts, Text(rate, style), f"{one.critical:,}", style=idle)
    return rows


def _when(at: str) -> str:
    return at[:16].replace("T", " ") if "T" in at else at

"""The reports of single commands on the terminal, as rich renderables."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from anomvae.records.results import (
    Calibration,
    Challenge,
    Drift,
    ErrorResult,
    FileResult,
    FitResult,
    GroupFolds,
    InspectResult,
    Power,
    RowResult,
    ScoreResult,
    Side,
    ThresholdChange,
    ThresholdResult,
    Training,
)
from anomvae.records.sentences import rejection_sentences, table_warning
from anomvae.report.sanitize import sanitize
from anomvae.report.schema import column_lines, loud_lines, quiet_warnings
from anomvae.report.tables import cell, figure, number_column, table, text_column, warning_lines

VERDICT = {
    "ok": "green",
    "elevated": "yellow",
    "anomalous": "bold red",
    "drifted": "bold magenta",
    "failed": "bold red",
}
BAR = 8  # characters of a full bar
BLOCKS = " ▏▎▍▌▋▊▉█"


def fit_report(result: FitResult) -> RenderableType:
    """What `fit` prints: columns, network, threshold, file."""
    selection = f" where {result.selection}" if result.selection else ""
    head = Text.assemble(
        ("Trained on ", ""),
        (f"{result.rows_used:,} rows", "bold"),
        sanitize(selection, 120),
        f" of {result.rows_read:,} read",
    )
    if result.rows_rejected:
        head.append(f", {result.rows_rejected:,} unreadable rows left out", "yellow")
    parts: list[RenderableType] = [head, *column_lines(result.columns), *loud_lines(result.warnings)]
    parts += _training(result.training)
    if result.dependencies:
        parts.append(
            Text(sanitize(f"Follows from other columns, kept by generate: {'; '.join(result.dependencies)}", 300))
        )
    parts += [*_groups(result.groups), *threshold_lines(result.calibration)]
    parts += [*_self_test(result.self_test), *_review(result)]
    parts += challenge_lines(result.comparison) if result.comparison else []
    parts += warning_lines(tuple(map(table_warning, quiet_warnings(result.warnings))))
    saved = Text.assemble(
        "Saved ", cell(result.model, 80, "bold"), f"  sha256 {result.model_id[:12]}  {result.seconds:.1f} s"
    )
    return Group(*parts, saved)


def _review(result: FitResult) -> list[RenderableType]:
    """The training rows that were held for anomalies."""
    if not result.contamination:
        return []
    back = result.suspected - result.to_review
    text = f"{result.suspected:,} suspected rows were not trained on; {back:,} proved usual and are calibrated on"
    lines: list[RenderableType] = [Text(f"{text}; {result.to_review:,} to review:", style="yellow")]
    lines += [cell(f"  {row.file}:{row.line}  score {row.score:.1f}  {row.reason}", 200) for row in result.review]
    if result.to_review > len(result.review):
        lines.append(Text(f"  ... and {result.to_review - len(result.review):,} more", style="dim"))
    return lines


def inspect_report(result: InspectResult) -> RenderableType:
    """What `inspect` prints."""
    lineage = result.lineage
    head = Text.assemble(cell(result.model, 80, "bold"), f"  {result.bytes / 1024:,.0f} KiB  format {result.format}")
    source = cell(
        f"made by {result.created_by} from {', '.join(lineage.files[:4])}"
        f"{' ...' if len(lineage.files) > 4 else ''}: {lineage.rows_used:,} of {lineage.rows_read:,} rows"
        f"{' where ' + lineage.selection if lineage.selection else ''}, seed {lineage.seed}",
        200,
    )
    hashes = Text(f"model sha256 {result.model_id[:16]}  data sha256 {lineage.data_sha256[:16]}", style="dim")
    versions = cell("  ".join(f"{name} {version}" for name, version in lineage.versions.items()), 120, "dim")
    body = [*column_lines(result.columns), *_training(result.training), *_groups(result.groups)]
    body += threshold_lines(result.calibration, result.threshold_history)
    body += _self_test(result.self_test)
    return Group(head, source, hashes, versions, *body, *history_lines(result.threshold_history))


FAULTS = {
    "wild": "a number far outside its range",
    "unit": "a number in the wrong unit",
    "swap": "two numbers that changed places",
    "dependency": "a usual value, wrong beside the rest",
    "category": "a category never seen",
    "gap": "a gap where there never was one",
}


def _self_test(powers: tuple[Power, ...]) -> list[RenderableType]:
    """What share of injected faults is found, by kind, and the columns where fewest are."""
    if not powers:
        return []
    found = table(
        text_column("self-test: injected faults"),
        number_column("found", width=5),
        number_column("95 %", width=6),
        text_column("least in"),
    )
    for one in (power for power in powers if not power.column):
        columns = sorted((p for p in powers if p.kind == one.kind and p.column), key=lambda p: (p.found, p.column))
        least = ", ".join(f"{sanitize(p.column, 20)} {100 * p.found:.0f} %" for p in columns[:2] if p.found < 0.95)
        style = "" if one.found >= 0.9 else "yellow"
        interval = f"{100 * one.low:.0f}-{100 * one.high:.0f}"
        found.add_row(FAULTS[one.kind], Text(f"{100 * one.found:.0f} %", style=style), interval, cell(least))
    return [found]


def score_report(result: ScoreResult) -> RenderableType:
    """What `score` prints: every file, the refused ones, a total where there are several."""
    parts: list[RenderableType] = []
    for one in result.files:
        parts += [file_report(one)] if len(result.files) == 1 else [file_report(one), Text()]
    parts += [error_report(one) for one in result.refused]
    if len(result.files) + len(result.refused) > 1:
        text = (
            f"{len(result.files)} files, {result.rows:,} rows, {result.flagged:,} flagged, {result.critical:,} critical"
        )
        refused = f", {len(result.refused)} refused" if result.refused else ""
        parts.append(Text(f"Total: {text}, {result.rejected:,} unreadable{refused}", style="bold"))
    return Group(*parts)


def file_report(result: FileResult) -> RenderableType:
    """One delivery: verdict, counts, the worst rows, the columns to blame."""
    head = Text.assemble(
        cell(result.file, 80, "bold"), "  ", (result.verdict.upper(), VERDICT[result.verdict]), f"  {_counts(result)}"
    )
    parts: list[RenderableType] = [head]
    parts += [cell(text, 300, VERDICT[result.verdict]) for text in rejection_sentences(result.why)]
    parts += [Text(_expectation(result), style="dim"), *drift_lines(result.drift)]
    if result.worst:
        parts.append(_worst(result.worst))
        if any(row.estimated for row in result.worst):
            parts.append(Text("* beyond the calibration rows: a tail estimate, no guarantee", style="dim"))
        if result.flagged > len(result.worst):
            parts.append(Text(f"... and {result.flagged - len(result.worst):,} more flagged rows", style="dim"))
    if result.blame:
        blamed = ", ".join(f"{sanitize(one.column, 30)} {one.rows}" for one in result.blame)
        parts.append(Text(f"columns to blame: {blamed}"))
    if result.rejected:
        parts.append(Text(f"{result.rejected:,} unreadable rows, not scored:", style="yellow"))
        parts += [cell(f"  line {bad.line}: {bad.message} ({bad.code})", 160) for bad in result.rejects[:5]]
    parts += warning_lines(result.warnings)
    if result.outputs and result.outputs != ("-",):
        parts.append(Text.assemble("wrote ", cell(", ".join(result.outputs), 120)))
    return Group(*parts)


def drift_lines(drift: Drift | None) -> list[RenderableType]:
    """What drifted, or, where nothing did, what differs in this file by more than is usual."""
    if drift is None:
        return []
    over = f" over the newest {drift.files} files" if drift.files > 1 else ""
    lines: list[RenderableType] = [cell(f"drift: {text}{over}", 200, VERDICT["drifted"]) for text in drift.told]
    return lines or [cell(f"differs: {text}", 200, "dim") for text in differences(drift)[:3]]


def differences(drift: Drift) -> list[str]:
    """What differs in a file by itself, the surest first."""
    noticed = sorted((one for one in drift.columns if one.told), key=lambda one: one.p)
    names = (f"{one.column}{f' ({one.part})' if one.part else ''}" for one in noticed)
    return [f"{name} {one.told}" for name, one in zip(names, noticed, strict=True)]


def error_report(error: ErrorResult) -> Text:
    """One refused file or failed command, in one line."""
    place = ":".join(str(part) for part in (error.file, error.line) if part is not None)
    text = sanitize(f"{place}: {error.message} [{error.code}]", 400)
    return Text.assemble(("refused ", "bold red"), text, no_wrap=True, overflow="ignore")


def _counts(result: FileResult) -> str:
    rows = f"{result.scored:,} rows scored, {result.flagged:,} flagged"
    return f"{rows}, {result.critical:,} critical" if result.critical else rows


def _expectation(result: FileResult) -> str:
    if not result.scored:
        return "no rows to score"
    share = 100 * result.flagged / result.scored
    text = f"{share:.1f} % flagged; a normal file has about {result.expected_flags:.1f} at alpha {result.alpha:g}"
    return f"{text}; the chance of this many is {_probability(result.p_file)}"


def _probability(p: float) -> str:
    return "below 0.0001" if p < 0.0001 else f"{p:.2g}"


def _worst(rows: tuple[RowResult, ...]) -> Table:
    worst = table(
        number_column("line", width=5),
        text_column("severity", width=BAR + 7),
        number_column("score", width=5),
        number_column("recon", width=6),
        number_column("kl", width=5),
        text_column("why", share=1),
        expand=True,
    )
    for row in rows:
        style = "bold red" if row.critical else "yellow"
        mark = "*" if row.estimated else " "
        worst.add_row(
            Text(str(row.line), style=style),
            Text(f"{bar(row.severity)} {row.severity:5.1f}{mark}", style=style),
            figure(row.score, 1),
            figure(row.recon, 1),
            figure(row.kl, 1),
            cell("; ".join(f"{reason.text} [{reason.share:.0%}]" for reason in row.reasons), 300),
        )
    return worst


def bar(severity: float) -> str:
    """A severity of 0-100 as a bar of eight cells."""
    eighths = round(min(max(severity, 0.0), 100.0) / 100 * BAR * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (BLOCKS[rest] if rest else "")).ljust(BAR)


def _training(training: Training) -> list[RenderableType]:
    lines: list[RenderableType] = [
        Text(
            f"VAE {training.layout} (value path; mask bits and spreads come on top), {training.members} members, "
            f"beta {training.beta:g}, {training.steps:,} steps on {training.device}"
        ),
        Text(
            f"ELBO {training.elbo:.3f} = -(recon {training.recon:.3f} + KL {training.kl:.3f}) nats a row, out of fold; "
            f"{training.latents_used} of {training.latent} latents in use"
        ),
    ]
    return lines


def _groups(groups: GroupFolds | None) -> list[RenderableType]:
    """Which rows folds kept together, and why."""
    if groups is None:
        return []
    shared = " or ".join(f"'{name}'" for name in groups.columns)
    rows = f"Rows of the same {'day' if groups.part == 'day' else 'value'} of {shared}"
    told = f"{groups.groups:,} groups (at most {groups.largest:,} rows) in {groups.folds} folds"
    if groups.share is None or groups.chance is None:
        return [cell(f"{rows} are kept in one fold (--group): {told}", 200)]
    why = f"so is the nearest row in {_percent(groups.share)} of the groups, in {_percent(groups.chance)} by chance"
    return [
        cell(f"{rows} are alike, so they are kept in one fold: {told}", 200, "yellow"),
        cell(f"  {why}; --group none leaves them apart", 200, "dim"),
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def threshold_lines(calibration: Calibration, history: tuple[ThresholdChange, ...] = ()) -> list[RenderableType]:
    """The threshold, what it promises, and what that rests on."""
    low, high = 1000 * calibration.rate_low, 1000 * calibration.rate_high
    promise = f"expect {1000 * calibration.alpha:g} false alarms per 1,000 normal rows (95 % CI {low:.1f}-{high:.1f})"
    basis = f"{calibration.rows:,} {basis_of(history)} rows in {calibration.blocks:,} blocks"
    if calibration.dependent:
        basis += (
            f"; rows depend on their neighbours (rank correlation {calibration.correlation:.2f}): calibrated on blocks"
        )
    lines: list[RenderableType] = [
        Text.assemble(
            (f"Threshold {calibration.threshold:.3f}", "bold"), f" at alpha {calibration.alpha:g}: {promise}"
        ),
        Text(basis, style="dim"),
    ]
    if calibration.estimated:
        text = f"alpha below {calibration.supported_alpha:.3g} cannot be counted with so few rows: a tail estimate"
        lines.append(Text(text, style="yellow"))
    return lines


def basis_of(history: tuple[ThresholdChange, ...]) -> str:
    """Which rows a threshold rests on, in a word."""
    return "approved" if any(change.by == "recalibrate" for change in history) else "out-of-fold"


def history_lines(history: tuple[ThresholdChange, ...]) -> list[RenderableType]:
    """What set the threshold, the newest last."""
    return [cell(f"threshold {c.threshold:.3f} at alpha {c.alpha:g}, set by {c.by}", 120) for c in history]


def threshold_report(result: ThresholdResult) -> RenderableType:
    """What `threshold` prints: the threshold with its promise, alternatives, and what set it."""
    parts: list[RenderableType] = [*threshold_lines(result.calibration, result.history), _alternatives(result)]
    if any(one.estimated for one in result.alternatives):
        parts.append(Text("* estimated: beyond the calibration rows, no guarantee", style="dim"))
    parts += [*history_lines(result.history), *warning_lines(result.warnings)]
    if result.changed:
        parts.append(Text.assemble("Saved ", cell(result.model, 80, "bold"), f"  sha256 {result.model_id[:12]}"))
    return Group(*parts)


def _alternatives(result: ThresholdResult) -> Table:
    names = "alpha", "threshold", "false alarms per 1,000", "95 % CI"
    rows = table(*map(number_column, names))
    for one in result.alternatives:
        mark = "*" if one.estimated else " "
        interval = f"{1000 * one.rate_low:.1f}-{1000 * one.rate_high:.1f}"
        rows.add_row(f"{one.alpha:g}", f"{one.threshold:.3f}{mark}", f"{1000 * one.alpha:g}", interval)
    return rows


def challenge_lines(found: Challenge) -> list[RenderableType]:
    """What `fit --compare` adds: two models side by side, and on how many rows they agree."""
    rows = table(
        text_column(f"on {found.rows:,} held-out rows"),
        number_column(f"in use: {sanitize(found.champion.model, 30)}"),
        number_column(f"new: {sanitize(found.challenger.model, 30)}"),
    )
    for label, cells in _compared(found.champion, found.challenger):
        rows.add_row(label, *cells)
    agreed = f"flagged by both {found.both:,}, only by the one in use {found.champion_only:,}"
    lines: list[RenderableType] = [rows, Text(f"{agreed}, only by the new one {found.challenger_only:,}")]
    if found.unreadable:
        lines.append(Text(f"{found.unreadable:,} held-out rows are unreadable for one of them", style="yellow"))
    return lines


def _compared(*sides: Side) -> list[tuple[str, list[str]]]:
    rows = [
        ("flagged", [f"{side.flagged:,}" for side in sides]),
        ("rate (95 %)", [f"{100 * s.rate:.2f} % ({100 * s.low:.2f}-{100 * s.high:.2f})" for s in sides]),
        ("alpha", [f"{100 * side.alpha:g} %" for side in sides]),
        ("mean score", [f"{side.mean_score:.3f}" for side in sides]),
    ]
    kinds = list(dict.fromkeys(kind for side in sides for kind in side.power))
    found = [
        (f"finds {kind}", [f"{100 * s.power[kind]:.0f} %" if kind in s.power else "-" for s in sides]) for kind in kinds
    ]
    return rows + found

"""What `evaluate` prints: the figures with their intervals, then every kind of anomaly."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from anomvae.records.results import Estimate, EvaluateResult, KindResult
from anomvae.report.tables import cell, number_column, table, text_column, warning_lines

MOST = 30  # kinds in the table


def evaluate_report(result: EvaluateResult) -> RenderableType:
    """Counts, figures, kinds, warnings."""
    parts: list[RenderableType] = [_head(result), Text(_counts(result), style="dim"), _figures(result)]
    if len(result.kinds) > 1:
        parts += [Text(), _kinds(result.kinds[:MOST])]
    if len(result.kinds) > MOST:
        parts.append(Text(f"... and {len(result.kinds) - MOST} more kinds", style="dim"))
    if result.estimated:
        text = f"alpha {result.alpha:g} is below what the calibration rows support: estimated, no guarantee"
        parts.append(Text(text, style="yellow"))
    return Group(*parts, *warning_lines(result.warnings))


def _head(result: EvaluateResult) -> Text:
    more = f" and {len(result.files) - 1} more" if len(result.files) > 1 else ""
    rows = result.normal_rows + result.anomalous_rows
    return Text.assemble(
        cell(result.files[0], 80, "bold"), more, f"  {rows:,} labelled rows against ", cell(result.model)
    )


def _counts(result: EvaluateResult) -> str:
    normal = ", ".join(f"'{value}'" if value else "empty" for value in result.normal) or "none"
    text = f"{result.normal_rows:,} normal (label {normal}), {result.anomalous_rows:,} anomalous"
    text += f", {result.unlabelled:,} unlabelled" if result.unlabelled else ""
    return cell(text + (f", {result.rejected:,} unreadable" if result.rejected else ""), 200).plain


def _figures(result: EvaluateResult) -> Table:
    figures = table(text_column(""), number_column("value"), number_column("95 % interval"), text_column(""))
    rows = result.normal_rows + result.anomalous_rows
    chance = f"chance {result.anomalous_rows / rows:.3f}" if rows else ""
    flagged = result.found + result.false_alarms
    for name, figure, note in (
        ("AUROC", result.auroc, "chance 0.5"),
        ("AUPR", result.aupr, chance),
        ("recall", result.recall, f"{result.found:,} of {result.anomalous_rows:,} at alpha {result.alpha:g}"),
        ("false alarms", result.false_alarm_rate, _promise(result)),
        ("precision", result.precision, f"{result.found:,} of {flagged:,} flagged rows"),
    ):
        figures.add_row(name, *_estimate(figure), "" if figure is None else note)
    return figures


def _promise(result: EvaluateResult) -> str:
    kept = "is within" if result.alpha_within else "is NOT within"
    return f"{result.false_alarms:,} of {result.normal_rows:,}; alpha {result.alpha:g} {kept}"


def _kinds(kinds: tuple[KindResult, ...]) -> Table:
    numbers = "recall", "95 % interval", "found", "AUROC", "95 % interval"
    rows = table(text_column("kind"), *map(number_column, numbers))
    for one in kinds:
        found = f"{one.flagged} of {one.rows}"
        rows.add_row(cell(one.kind, 24), *_estimate(one.recall), found, *_estimate(one.auroc))
    return rows


def _estimate(figure: Estimate | None) -> tuple[str, str]:
    return ("-", "") if figure is None else (f"{figure.value:.4f}", f"{figure.low:.4f}-{figure.high:.4f}")

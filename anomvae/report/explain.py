"""One row in depth as a rich renderable, for 80 columns."""

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from anomvae.records.results import Change, ColumnPart, ExplainedRow, ExplainResult
from anomvae.report.sanitize import sanitize
from anomvae.report.tables import cell, figure, number_column, table

STATE = {"usual": "usual", "high": "too high", "low": "too low"}
ESTIMATE = "* beyond the calibration rows: a tail estimate, no guarantee"
SURPRISING = 3.0  # nats: one training row in twenty


def explain_report(result: ExplainResult) -> RenderableType:
    """What `explain` prints: each row, a blank line between."""
    parts: list[RenderableType] = []
    for row in result.rows:
        parts += [Text()] if parts else []
        parts += _row(row, result)
    parts += [Text.assemble(("! ", "yellow"), cell(warning, 220)) for warning in result.warnings]
    return Group(*parts)


def _row(row: ExplainedRow, result: ExplainResult) -> list[RenderableType]:
    verdict = ("FLAGGED", "bold red") if row.flagged else ("not flagged", "green")
    mark = "*" if row.estimated else ""
    head = Text.assemble((f"{sanitize(row.file, 120)}:{row.line}", "bold"), "  ", verdict)
    figures = f"score {row.score:.2f} (threshold {result.threshold:.2f} at alpha {result.alpha:g}), "
    chance = f"p {_chance(row.p)}{mark}, severity {row.severity:.1f}"
    foot = [Text(ESTIMATE, style="dim")] if row.estimated else []
    return [
        head,
        Text(figures + chance),
        Text(f"recon {row.recon:.2f}; {_latent(row)}"),
        Text(_terms(row)),
        _table(row.columns),
        *foot,
        *_changes(row),
    ]


def _latent(row: ExplainedRow) -> str:
    latent = row.latent
    return f"KL {latent.kl:.2f}, {STATE[latent.state]} (in training {latent.low:.2f} to {latent.high:.2f})"


def _terms(row: ExplainedRow) -> str:
    terms = row.terms
    views = {
        "whole row": terms.whole,
        "worst column": terms.worst,
        "latent": terms.latent,
        "place": terms.place,
        "hidden columns": terms.hidden,
    }
    largest = ", ".join(
        f"{name} {max(nats, 0.0):.2f}" for name, nats in sorted(views.items(), key=lambda item: -item[1])
    )
    never = f"; {terms.unseen:.2f} more for what training never showed" if terms.unseen > 0.005 else ""
    return f"the largest counts: {largest}{never}"


def _table(columns: tuple[ColumnPart, ...]) -> Table:
    texts = (
        Column(name, overflow="fold", ratio=share) for name, share in (("column", 3), ("value", 3), ("expected", 5))
    )
    numbers = (number_column(name, width=len(name)) for name in ("deviance", "surprise", "share"))
    rows = table(*texts, *numbers, expand=True)
    for part in columns:
        style = "yellow" if part.surprise > SURPRISING or part.share >= 0.05 else ""
        rows.add_row(
            sanitize(part.column, 60),
            sanitize(_written(part.value) + (f" ({part.step})" if part.step else ""), 60),
            sanitize(_expected(part), 90),
            *(figure(value, 2) for value in (part.deviance, part.surprise)),
            f"{part.share:.0%}",
            style=style,
        )
    return rows


def _chance(p: float) -> str:
    return f"{p:.2g}" if p >= 1e-4 else f"{p:.1e}"


def _written(text: str) -> str:
    return text if text != "" else "empty"


def _expected(part: ColumnPart) -> str:
    expected = _written(part.expected)
    return f"{expected} ({part.low} to {part.high})" if part.low else expected


def _changes(row: ExplainedRow) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for change in row.changes:
        end = "; no longer flagged" if change.suffices else "; still flagged"
        figures = f"score from {row.score:.2f} to {change.score:.2f} (p {_chance(change.p)})"
        start = "One change: " if len(change.cells) == 1 else "Two changes: "
        text = f"{start}{_cells(change)} would bring the {figures}{end}"
        lines.append(Text(text, style="bold" if change.suffices else ""))
    return lines


def _cells(change: Change) -> str:
    return " and ".join(
        f"{sanitize(one.column, 40)} {sanitize(_written(one.value), 40)} -> {sanitize(_written(one.expected), 40)}"
        for one in change.cells
    )

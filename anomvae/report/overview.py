"""The report as one offline page: verdicts over time, severities, worst rows, columns, drift, refused files, the model.

What an engineer on call asks comes first; every picture has a table or a sentence beside it.
"""

from typing import Any

from anomvae.overview import ColumnLook, Overview, WorstRow
from anomvae.report import drawing, page
from anomvae.report.terminal import FAULTS, basis_of


def overview_page(result: Overview) -> str:
    """The page."""
    shapes = {shape.column: shape for shape in result.shapes}
    most = max((look.rows for look in result.columns), default=0) or 1
    return page.render(
        "overview.html",
        result=result,
        headline=headline(result),
        words=drawing.KIND,
        rate=result.flagged / result.scored if result.scored else None,
        time_line=drawing.time_line(result.steps, result.alpha) if result.steps else None,
        severities=drawing.severities(result.severities, result.alpha) if result.severities else None,
        worst=[(one, _reasons(one, shapes)) for one in result.worst],
        columns=[(look, drawing.share_bar(look.rows / most)) for look in result.columns if look.rows],
        drifts=[(look, _against(look)) for look in result.columns if look.drift],
        card=_card(result, shapes) if result.card else None,
    )


def headline(result: Overview) -> str:
    """The page in one sentence."""
    if result.kind == "model":
        return "What this model learnt, and what it promises."
    count = sum(result.verdicts.values())
    bad = {name: n for name, n in result.verdicts.items() if name != "ok"}
    if not count:
        return "No file has been judged yet."
    if not bad:
        rows = f"; {result.critical:,} critical rows" if result.critical else ""
        return f"All {count:,} files are within what is usual{rows}." if count > 1 else f"The file is ok{rows}."
    told = ", ".join(f"{n:,} {name}" for name, n in bad.items())
    return f"{sum(bad.values()):,} of {count:,} files need a look: {told}."


def _reasons(one: WorstRow, shapes: dict[str, Any]) -> list[tuple[Any, Any]]:
    """The reasons of a row, each with its picture where there is one."""
    return [
        (reason, drawing.column(shapes[reason.column], mark) if reason.column in shapes else None)
        for reason, mark in zip(one.row.reasons, one.marks, strict=True)
    ]


def _against(look: ColumnLook) -> Any:
    """A column of a file against training, in training's bins; None where the record has no bins."""
    drift = look.drift
    if drift is None or not drift.bins or not sum(drift.usual) or not sum(drift.counts):
        return None
    usual, here = ([n / sum(counts) for n in counts] for counts in (drift.usual, drift.counts))
    return page.histogram(usual, here)


def _card(result: Overview, shapes: dict[str, Any]) -> dict[str, Any]:
    card = result.card
    if card is None:
        return {}
    kinds = [power for power in card.self_test if not power.column]
    return {
        "model": card,
        "basis": basis_of(card.threshold_history),
        "powers": [(FAULTS[power.kind], power, drawing.share_bar(power.found)) for power in kinds],
        "columns": [(c, drawing.column(shapes[c.name]) if c.name in shapes else None) for c in card.columns],
        "drawn": result.kind == "model",
    }

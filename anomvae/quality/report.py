"""Shows how good synthetic rows are: a table for the terminal and an offline HTML page, both from the record alone.

`figures` decides for both which headline figures there are, how good each is, and what would be ideal.
"""

from typing import Any, Literal

import msgspec
from rich.console import Group, RenderableType
from rich.table import Column
from rich.text import Text

from anomvae.quality.records import ColumnShape, PairTrend, QualityResult
from anomvae.report import html_page, svg
from anomvae.report.sanitize import sanitize
from anomvae.report.tables import table, text_column

Mark = Literal["good", "fair", "poor"]
STYLE = {"good": "green", "fair": "yellow", "poor": "bold red"}
DRAWN = 60  # columns that the page draws, the least alike first
HEAT = (0.98, 0.95, 0.9, 0.85, 0.8, 0.7)  # bounds of the heat classes 0 (alike) to 6


class Figure(msgspec.Struct, frozen=True):
    """One headline figure: its value and the ideal as text, a mark, and what it means, in brief and in a sentence.

    `gauge`: the value, both ends of the scale and the ideal, as they are drawn; None where nothing is drawn.
    """

    name: str
    value: str
    ideal: str
    mark: Mark
    brief: str
    meaning: str
    gauge: tuple[float, float, float, float] | None = None


def figures(result: QualityResult) -> list[Figure]:
    """The headline figures that could be measured, the most important first."""
    found = [_likeness(result), _two_sample(result), _use(result), _nearer(result), _copies(result)]
    return [figure for figure in [*found, _rare(result), _missing(result)] if figure is not None]


def _grade(value: float, good: float, fair: float) -> Mark:
    """The mark of a value of which less is better: `good` and `fair` are the largest values that have these marks."""
    return "good" if value <= good else "fair" if value <= fair else "poor"


def _likeness(result: QualityResult) -> Figure:
    ideal = 1.0 if result.attainable is None else result.attainable
    trend = "" if result.trend is None else f", pairs {result.trend:.3f}"
    reached = "" if result.attainable is None else f"; real rows reach {ideal:.3f}"
    return Figure(
        "likeness",
        f"{result.overall:.3f}",
        f"{ideal:.3f}",
        _grade(ideal - result.overall, 0.03, 0.1),
        f"columns {result.shape:.3f}{trend}{reached}",
        f"Do columns, and pairs of them, look as in real rows? 1 is a perfect match. Columns {result.shape:.3f}"
        f"{trend}{reached}.",
        (result.overall, 0.5, 1.0, ideal),
    )


def _two_sample(result: QualityResult) -> Figure | None:
    if result.c2st is None:
        return None
    auc = result.c2st.auc
    return Figure(
        "told apart",
        f"{auc:.3f} ± {result.c2st.standard_error:.3f}",
        "0.5",
        _grade(auc, 0.6, 0.8),
        "a classifier against real rows: 0.5 a coin toss, 1 never wrong",
        f"How well a classifier tells synthetic from {result.against} rows (C2ST, AUC): 0.5 is a coin toss, "
        "1 is never wrong.",
        (auc, 0.5, 1.0, 0.5),
    )


def _use(result: QualityResult) -> Figure | None:
    test = result.tstr
    if test is None:
        return None
    metric = {"auc": "AUC", "accuracy": "accuracy", "r2": "R²"}[test.metric]
    label = sanitize(test.label, 24)
    scores = f"{metric} {test.on_synthetic:.3f} for '{label}'; trained on real rows {test.on_real:.3f}"
    meaning = f"Can a model be trained on them? {scores}, both tested on real rows (TSTR)."
    if test.ratio is None:
        return Figure("use for prediction", "-", "1", "fair", scores, f"{meaning} It cannot be predicted from either.")
    mark, gauge = _grade(1 - test.ratio, 0.03, 0.1), (test.ratio, 0.0, 1.2, 1.0)
    return Figure("use for prediction", f"{test.ratio:.3f}", "1", mark, scores, meaning, gauge)


def _nearer(result: QualityResult) -> Figure | None:
    near = result.nearer
    if near is None:
        return None
    return Figure(
        "nearer to training",
        f"{100 * near.share:.1f} %",
        "50 %",
        _grade(max(near.share - 0.5 - 2 * near.standard_error, 0.0), 0.03, 0.08),
        "than to held-out rows; far above 50 %: remembered, not learnt",
        "Synthetic rows whose closest real row was trained on rather than held out. Far above 50 % they were "
        "remembered, not learnt.",
        (near.share, 0.0, 1.0, 0.5),
    )


def _copies(result: QualityResult) -> Figure:
    share, usual, chance = result.copies / result.rows_synthetic, 0.0, ""
    if result.copies_held_out is not None:
        usual = result.copies_held_out / result.rows_held_out
        chance = f"{result.copies_held_out:,} of {result.rows_held_out:,} held-out rows are by chance"
    mark: Mark = "good" if result.copies == 0 else "fair" if share <= usual else "poor"
    meaning = "Rows equal to a training row in every column (rows that training has twice set aside)."
    meaning += f" {chance[0].upper()}{chance[1:]}." if chance else ""
    brief = chance or "rows equal to a training row in every column"
    return Figure("copies", f"{result.copies:,} of {result.rows_synthetic:,}", "0", mark, brief, meaning)


def _rare(result: QualityResult) -> Figure | None:
    if not result.rare:
        return None
    brief = "categories of at least 0.5 % of the training rows"
    mark = _grade(1 - result.rare_kept / result.rare, 0.0, 0.1)
    kept = f"{result.rare_kept:,} of {result.rare:,}"
    meaning = f"{brief.capitalize()} that appear among the synthetic ones."
    return Figure("categories kept", kept, f"{result.rare:,}", mark, brief, meaning)


def _missing(result: QualityResult) -> Figure:
    points = 100 * result.missing_gap
    brief = "largest difference of a column's missing share"
    meaning = "The largest difference of a column's share of missing cells, in percentage points."
    return Figure("missing cells", f"{points:.1f} points", "0", _grade(points, 1.0, 3.0), brief, meaning)


def verdict(result: QualityResult) -> str:
    """The figures in one sentence."""
    test, near = _two_sample(result), _nearer(result)
    found = {
        "good": "A classifier can hardly tell these rows from real ones",
        "fair": "A classifier finds some difference between these rows and real ones",
        "poor": "A classifier tells these rows from real ones easily",
    }
    apart = "There are too few rows to ask a classifier" if test is None else found[test.mark]
    if near is None:
        return f"{apart}; whether they were learnt or remembered cannot be told without held-out rows."
    if near.mark == _copies(result).mark == "good":
        return f"{apart}; nothing points to training rows being copied."
    return f"{apart}; some of them look remembered rather than learnt: do not share them as if they held no real row."


def quality_report(result: QualityResult) -> RenderableType:
    """What the terminal shows of a comparison."""
    head = Text.assemble((f"{result.rows_synthetic:,} synthetic rows", "bold"), f" {sanitize(result.synthetic, 60)}")
    head.append(f" against {result.rows_real:,} training rows")
    head.append(f" and {result.rows_held_out:,} held-out ones" if result.held_out else ", none held out")
    widths = (("figure", 18), ("value", 13), ("ideal", 5), ("", 4))
    texts = (text_column(name, width=width) for name, width in widths)
    rows = table(*texts, Column("what it says", ratio=1), expand=True)
    for one in figures(result):
        mark = Text(one.mark, STYLE[one.mark])
        rows.add_row(one.name, Text(one.value, "bold"), one.ideal, mark, Text(one.brief, "dim"))
    parts: list[RenderableType] = [head, Text(verdict(result)), rows]
    worst = sorted(result.columns, key=lambda column: column.similarity)[:3]
    least_alike = ", ".join(f"{sanitize(column.column, 30)} {column.similarity:.2f}" for column in worst)
    parts.append(Text(f"least alike columns: {least_alike}"))
    parts += [Text(f"cannot be told: {sanitize(text, 220)}", "yellow") for text in result.cannot_tell]
    parts += [Text(f"! {sanitize(text, 220)}", "yellow") for text in result.warnings[:12]]
    return Group(*parts)


def quality_page(result: QualityResult) -> str:
    """A comparison as one HTML page that loads nothing else."""
    columns = sorted(result.columns, key=lambda column: column.similarity)
    return html_page.render(
        "quality.html",
        result=result,
        verdict=verdict(result),
        figures=[(one, None if one.gauge is None else svg.gauge(*one.gauge)) for one in figures(result)],
        drawn=[_drawing(column) for column in columns[:DRAWN]],
        heat=_heat(result.pairs, [c.column for c in result.columns if c in columns[:DRAWN]]),
        bounds=HEAT,
        worst=sorted(result.pairs, key=lambda pair: pair.similarity)[:10],
        lost=[column for column in result.columns if column.lost],
        gaps=_gaps(result.columns),
    )


def _drawing(column: ColumnShape) -> dict[str, Any]:
    """What the template needs to draw a column: bars of a category, or the histograms of a number and their ends."""
    out: dict[str, Any] = {"column": column, "bars": (), "picture": None}
    if column.kind == "category":
        names = [*column.levels, *([f"{column.others} others"] if column.others else [])]
        top = max((*column.real, *column.synthetic), default=1.0)
        out["bars"] = [
            (name, real, synthetic, svg.pair_of_bars(real, synthetic, top))
            for name, real, synthetic in zip(names, column.real, column.synthetic, strict=True)
        ]
    else:
        out["picture"] = svg.two_histograms(column.real, column.synthetic)
        whole = column.edges[0] % 1 == 0.5 and column.edges[1] - column.edges[0] == 1  # a bar a whole number
        ends = column.edges[0] + 0.5 * whole, column.edges[-1] - 0.5 * whole
        out["ends"] = [svg.short(end, date=column.kind == "date") for end in ends]
    return out


def _heat(pairs: tuple[PairTrend, ...], names: list[str]) -> Any:
    """The heat map of pair trends; None where no pair was compared."""
    place = {name: i for i, name in enumerate(dict.fromkeys(names))}
    cells = []
    for pair in pairs:
        if pair.first in place and pair.second in place:
            row, column = sorted((place[pair.first], place[pair.second]), reverse=True)
            cells.append((row, column, heat_class(pair.similarity), _pair_text(pair)))
    return svg.heat_map(names, cells, max(10, min(36, 620 // max(len(names), 1)))) if cells else None


def heat_class(similarity: float) -> int:
    """The class of a similarity in the heat map, from 0 (alike) to 6."""
    return sum(similarity < bound for bound in HEAT)


def _pair_text(pair: PairTrend) -> str:
    trend = "" if pair.real is None else f" (correlation {pair.real:.2f} real, {pair.synthetic:.2f} synthetic)"
    return f"{pair.first} × {pair.second}: {pair.similarity:.3f}{trend}"


def _gaps(columns: tuple[ColumnShape, ...]) -> list[ColumnShape]:
    """Columns with missing cells, the largest difference first."""
    gaps = [column for column in columns if column.missing_real or column.missing_synthetic]
    return sorted(gaps, key=lambda column: -abs(column.missing_real - column.missing_synthetic))[:40]

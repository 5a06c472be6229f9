"""One offline HTML page: the frame, the style sheet and the drawing that every page shares.

No script, no font, no picture from elsewhere; light and dark, screen and paper. Every value that a template prints
goes through `plain` and is escaped; only what is drawn here is markup. The only door to jinja2.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from anomvae.report.cell import plain

WIDTH, HEIGHT = 240, 72  # of a column's drawing, in its own units


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("anomvae.report"),
        autoescape=True,
        finalize=_harmless,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _harmless(value: Any) -> Any:
    return value if isinstance(value, Markup) else plain(value, 400)


def render(template: str, **values: Any) -> str:
    """A page from a template and its values."""
    return _environment().get_template(template).render(**values)


def short(value: float, date: bool = False) -> str:
    """A number for the end of an axis, or the day of a date in seconds."""
    if date:
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d")
    if 1e4 <= abs(value) < 1e7:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) < 1e4 and (value == round(value) or abs(value) >= 100) else f"{value:.3g}"


def histogram(real: Sequence[float], synthetic: Sequence[float]) -> Markup:
    """Real rows as filled bars, synthetic rows as a stepped line over them."""
    top = max(*real, *synthetic, 1e-12)
    step = WIDTH / max(len(real), 1)
    tops = [HEIGHT - 2 - (HEIGHT - 8) * share / top for share in synthetic]
    bars = "".join(_bar(i * step, step, (HEIGHT - 8) * share / top) for i, share in enumerate(real) if share > 0)
    line = "".join(f"V{y:.1f}H{(i + 1) * step:.1f}" for i, y in enumerate(tops))
    return Markup(  # noqa: S704 (numbers alone)
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="histogram">'
        f'<path class="real" d="{bars}"/><path class="synthetic" d="M0 {HEIGHT - 2}{line}V{HEIGHT - 2}"/>'
        f'<path class="axis" d="M0 {HEIGHT - 1}H{WIDTH}"/></svg>'
    )


def _bar(left: float, width: float, height: float) -> str:
    gap = min(1.0, width / 6)
    return f"M{left + gap:.1f} {HEIGHT - 2}v{-height:.1f}h{width - 2 * gap:.1f}v{height:.1f}z"


def pair_of_bars(real: float, synthetic: float, top: float) -> Markup:
    """Two thin bars, one above the other, as shares of `top`."""
    upper, lower = (100 * share / max(top, 1e-12) for share in (real, synthetic))
    return Markup(  # noqa: S704 (numbers alone)
        '<svg viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">'
        f'<path class="real" d="M0 1h{upper:.1f}v4h{-upper:.1f}z"/>'
        f'<path class="filled" d="M0 7h{lower:.1f}v4h{-lower:.1f}z"/></svg>'
    )


def gauge(value: float, low: float, high: float, ideal: float) -> Markup:
    """Where a value stands between two ends; a tick marks the ideal."""
    at, mark = (100 * min(max((v - low) / (high - low), 0.0), 1.0) for v in (value, ideal))
    return Markup(  # noqa: S704 (numbers alone)
        '<svg class="gauge" viewBox="0 0 104 10" aria-hidden="true"><path class="axis" d="M2 5H102"/>'
        f'<path class="ideal" d="M{mark + 2:.1f} 1V9"/><circle class="dot" cx="{at + 2:.1f}" cy="5" r="3"/></svg>'
    )


def heat_map(names: Sequence[str], cells: Sequence[tuple[int, int, int, str]], size: int) -> Markup:
    """A lower triangle of squares with the columns' names down its stairs.

    Args:
        names: of the columns, in order.
        cells: row, column, heat class and what a pointer is told, of every pair with row > column.
        size: of a square.
    """
    squares = [
        Markup('<rect class="h{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
            heat, column * size, row * size, size - 1, size - 1, plain(told, 160)
        )
        for row, column, heat, told in cells
    ]
    letters = min(max(size - 4, 6), 12)
    labels = [
        Markup('<text x="{}" y="{}" font-size="{}">{}</text>').format(
            row * size + 4, (row + 0.5) * size + 0.35 * letters, letters, plain(name, 24)
        )
        for row, name in enumerate(names)
    ]
    width, height = len(names) * size + 15 * letters, len(names) * size
    frame = Markup('<svg class="heat" viewBox="0 0 {} {}" style="max-width:{}px;min-width:{}px" role="img">{}</svg>')
    return frame.format(width, height, width, round(0.8 * width), Markup("").join([*squares, *labels]))

"""The pictures of the HTML pages as inline SVG: numbers alone become markup, and every name goes through `sanitize`.

Colour is never alone in saying something: bars have a title, marks a shape, and a table stands beside each picture.
"""

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import pairwise

import msgspec
from markupsafe import Markup

from anomvae.records.results import Verdict
from anomvae.report.sanitize import sanitize

WIDE, TALL = 960, 200  # width and height of a wide picture
CARD, LOW = 300, 46  # width and height of a column's small picture
BASE = LOW - 10  # height of the axis of the small picture, from the top
CSS_CLASS = {"ok": "good", "elevated": "fair", "drifted": "poor", "anomalous": "poor", "failed": "poor"}
LEVELS = 12  # of a category that are drawn
WIDTH, HEIGHT = 240, 72  # of a picture of two histograms, one over the other


class TimelineBar(msgspec.Struct, frozen=True, kw_only=True):
    """One file on the time line, or several neighbours: the gravest verdict, and the sums of their rows."""

    first: str
    last: str
    at: str
    files: int
    verdict: Verdict
    scored: int
    flagged: int


class Histogram(msgspec.Struct, frozen=True, kw_only=True):
    """How a column's training rows are distributed, without its gaps.

    `edges` (k + 1,): of a number, the bounds of its bins; `names` (k,): of a category; `counts` (k,).
    """

    column: str
    edges: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    counts: tuple[int, ...]


class Marker(msgspec.Struct, frozen=True, kw_only=True):
    """Where one reason of a row stands in the histogram of its column: numbers, or the names of categories."""

    seen: float | None = None
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    seen_name: str = ""
    expected_name: str = ""


def time_line(files: Sequence[TimelineBar], alpha: float) -> Markup:
    """The flag rate of every file as a bar, the accepted rate as a line; what failed hangs below the axis."""
    base, reach, width = TALL - 22, TALL - 40, WIDE / max(len(files), 12)
    rates = [one.flagged / one.scored if one.scored else 0.0 for one in files]
    top = max([3 * alpha, *(min(rate, 20 * alpha) for rate in rates)])
    level = base - reach * alpha / top
    bars = Markup("")
    for at, (one, rate) in enumerate(zip(files, rates, strict=True)):
        tall = max(reach * min(rate / top, 1.0), 1.5)
        bar = _rect(f"bar {CSS_CLASS[one.verdict]}", at * width + 1, base - tall, max(width - 2, 1.0), tall)
        bars += _titled(_bar_title(one, rate), bar + _triangle(one, (at + 0.5) * width, base + 5))
    frame = Markup(
        '<svg viewBox="0 0 {} {}" role="img" aria-label="flag rate of every file, in order; accepted {:g} percent">'
        '{}<path class="axis" d="M0 {}H{}"/><path class="ideal dashed" d="M0 {:.1f}H{}"/>'
        '<text x="{}" y="{:.1f}" font-size="12" text-anchor="end">alpha {:g} %</text>'
        '<text x="0" y="12" font-size="12">{:.3g} %</text></svg>'
    )
    percent = 100 * alpha
    return frame.format(
        WIDE, TALL, percent, bars, base, WIDE, level, WIDE, WIDE, level - 4, percent, 100 * top
    )  # fmt: skip


def _bar_title(one: TimelineBar, rate: float) -> str:
    name = one.first if one.files == 1 else f"{one.files} files, {one.first} to {one.last}"
    return f"{name}: {one.verdict}, {one.flagged:,} of {one.scored:,} rows flagged ({100 * rate:.2g} %) {one.at}"


def _triangle(one: TimelineBar, x: float, y: float) -> Markup:
    """A mark for verdicts that are not ok, so that colour is not alone."""
    if one.verdict == "ok":
        return Markup("")
    return Markup('<path class="{}-mark" d="M{:.1f} {}l4 8h-8z"/>').format(CSS_CLASS[one.verdict], x, y)


def _rect(css: str, x: float, y: float, width: float, height: float) -> Markup:
    shape = Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>')
    return shape.format(css, x, y, width, height)


def _titled(title: str, inside: Markup) -> Markup:
    return Markup("<g><title>{}</title>{}</g>").format(sanitize(title, 200), inside)


def severities(counts: Sequence[int], alpha: float) -> Markup:
    """Rows by severity on a logarithmic axis, what normal rows would show, and where flags begin."""
    total, most = max(sum(counts), 1), max(len(counts), 20)
    width, base, reach = WIDE / most, TALL - 20, TALL - 34
    usual = [total * (10 ** (-i / 5) - 10 ** (-(i + 1) / 5)) for i in range(most)]
    top = math.log10(max([*counts, usual[0], 10]) * 1.5)

    def height(value: float) -> float:
        return reach * max(math.log10(value) + 0.3, 0.0) / (top + 0.3) if value > 0 else 0.0

    inside = Markup("")
    for i, count in enumerate(counts):
        bar = _rect("real", i * width + 0.5, base - height(count), width - 1, height(count))
        inside += _titled(f"severity {2 * i} to {2 * i + 2}: {count:,} rows, {usual[i]:.3g} expected", bar)
    for tick in range(10, 2 * most, 10):
        text = Markup('<text x="{:.1f}" y="{}" font-size="12" text-anchor="middle">{}</text>')
        inside += text.format(tick / 2 * width, TALL - 4, tick)
    line = "L".join(f"{(i + 0.5) * width:.1f} {base - height(value):.1f}" for i, value in enumerate(usual))
    at = -5 * math.log10(alpha) * width
    frame = Markup(
        '<svg viewBox="0 0 {} {}" role="img" aria-label="rows by severity beside what normal rows would show">{}'
        '<path class="synthetic" d="M{}"/><path class="axis" d="M0 {}H{}"/>'
        '<path class="ideal dashed" d="M{:.1f} 8V{}"/>'
        '<text x="{:.1f}" y="16" font-size="12">flagged from here</text></svg>'
    )
    return frame.format(WIDE, TALL, inside, line, base, WIDE, at, base, at + 5)


def column(histogram: Histogram, marker: Marker | None = None) -> Markup | None:
    """A column's training rows, and among them what was seen and expected; None where nothing can be drawn."""
    return _number(histogram, marker or Marker()) if histogram.edges else _names(histogram, marker)


def _number(histogram: Histogram, marker: Marker) -> Markup | None:
    left, right = _middle(histogram.edges)
    span = right - left
    if not span > 0 or not math.isfinite(span):
        return None
    known = [value for value in (marker.seen, marker.expected, marker.low, marker.high) if value is not None]
    near = [min(max(value, left - 0.35 * span), right + 0.35 * span) for value in known]
    start, end = min([left, *near]), max([right, *near])

    def x(value: float) -> float:
        return 8 + (CARD - 16) * (min(max(value, start), end) - start) / (end - start)

    marks = Markup("")
    if marker.low is not None and marker.high is not None:
        wide = max(x(marker.high) - x(marker.low), 1.5)
        marks += _rect("range", x(marker.low), BASE + 2, wide, 5)
    if marker.expected is not None:
        marks += _expected(x(marker.expected))
    if marker.seen is not None and start <= marker.seen <= end:
        marks += _seen(x(marker.seen))
    elif marker.seen is not None:  # an arrow: further out than can be shown
        marks += Markup('<path class="seen" d="M{:.1f} 14l{} -6v12z"/>').format(
            x(marker.seen), -9 if marker.seen > end else 9
        )
    return _framed(histogram, marker, Markup('<path class="real" d="{}"/>').format(_bins(histogram, x, span)) + marks)


def _middle(edges: Sequence[float]) -> tuple[float, float]:
    """Where most training rows are: a long tail must not flatten all the rest."""
    reach = 0.6 * (edges[-2] - edges[1]) if len(edges) > 3 else math.inf
    return max(edges[0], edges[1] - reach), min(edges[-1], edges[-2] + reach)


def _bins(histogram: Histogram, x: Callable[[float], float], span: float) -> str:
    """Bins of a number as areas: as high as they are dense; one narrow bin must not flatten all others."""
    heights = [
        count / max(b - a, 0.002 * span)
        for count, (a, b) in zip(histogram.counts, pairwise(histogram.edges), strict=True)
    ]
    top = sorted(heights)[-1 - len(heights) // 20] or max(heights) or 1.0
    return "".join(
        f"M{x(a):.1f} {BASE}V{BASE - (BASE - 4) * min(height / top, 1.0):.1f}H{max(x(b), x(a) + 0.8):.1f}V{BASE}z"
        for height, (a, b) in zip(heights, pairwise(histogram.edges), strict=True)
        if height > 0
    )


def _names(histogram: Histogram, marker: Marker | None) -> Markup | None:
    if not sum(histogram.counts):
        return None
    names, top = list(histogram.names[:LEVELS]), max(histogram.counts)
    width = CARD / (len(names) + 1)  # a value never seen stands alone at the right
    inside = Markup("")
    for i, (name, count) in enumerate(zip(names, histogram.counts, strict=False)):
        tall = (BASE - 4) * count / top
        bar = _rect("real", i * width + 1, BASE - tall, width - 2, tall)
        inside += _titled(f"{sanitize(name, 60)}: {count:,} training rows", bar)
    if marker is not None:
        place = {name: (i + 0.5) * width for i, name in enumerate(names)}
        inside += _seen(place.get(marker.seen_name, (len(names) + 0.5) * width))
        if marker.expected_name in place:
            inside += _expected(place[marker.expected_name])
    return _framed(histogram, marker or Marker(), inside)


def _seen(at: float) -> Markup:
    return Markup('<path class="seen" d="M{:.1f} 14l6 -6l6 6l-6 6z"/>').format(at - 6)


def _expected(at: float) -> Markup:
    return Markup('<path class="expected" d="M{:.1f} 3V{}"/>').format(at, LOW - 2)


def _framed(histogram: Histogram, marker: Marker, inside: Markup) -> Markup:
    label = f"training rows of {sanitize(histogram.column, 40)}"
    if marker.seen_name or marker.expected_name:
        label += f"; seen {sanitize(marker.seen_name, 40) or 'nothing'}, expected {sanitize(marker.expected_name, 40)}"
    frame = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}<path class="axis" d="M0 {}H{}"/></svg>')
    return frame.format(CARD, LOW, label, inside, BASE, CARD)


def share_bar(share: float) -> Markup:
    """A thin bar for a table."""
    bar = Markup(
        '<svg class="share" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        '<path class="filled" d="M0 1h{0:.1f}v6h-{0:.1f}z"/></svg>'
    )
    return bar.format(100 * share)


def short(value: float, date: bool = False) -> str:
    """A number for the end of an axis, or the day of a date in seconds."""
    if date:
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d")
    if 1e4 <= abs(value) < 1e7:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) < 1e4 and (value == round(value) or abs(value) >= 100) else f"{value:.3g}"


def two_histograms(real: Sequence[float], synthetic: Sequence[float]) -> Markup:
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
        cells: row, column, heat class and title of every pair with row > column.
        size: of a square.
    """
    squares = [
        Markup('<rect class="h{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
            heat, column * size, row * size, size - 1, size - 1, sanitize(title, 160)
        )
        for row, column, heat, title in cells
    ]
    letters = min(max(size - 4, 6), 12)
    labels = [
        Markup('<text x="{}" y="{}" font-size="{}">{}</text>').format(
            row * size + 4, (row + 0.5) * size + 0.35 * letters, letters, sanitize(name, 24)
        )
        for row, name in enumerate(names)
    ]
    width, height = len(names) * size + 15 * letters, len(names) * size
    frame = Markup('<svg class="heat" viewBox="0 0 {} {}" style="max-width:{}px;min-width:{}px" role="img">{}</svg>')
    return frame.format(width, height, width, round(0.8 * width), Markup("").join([*squares, *labels]))

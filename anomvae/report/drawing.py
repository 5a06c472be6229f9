"""What the report draws, as inline SVG: numbers alone become markup, and every name goes through `plain`.

Colour is never alone in saying something: bars have a title, marks a shape, and a table stands beside each picture.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from markupsafe import Markup

from anomvae.overview import Mark, Shape, Step
from anomvae.report.cell import plain

WIDE, TALL = 960, 200  # of a wide drawing
CARD, LOW = 300, 46  # of a column's small one,
BASE = LOW - 10  # whose axis is here
KIND = {"ok": "good", "elevated": "fair", "drifted": "poor", "anomalous": "poor", "failed": "poor"}
LEVELS = 12  # of a category that are drawn


def time_line(steps: Sequence[Step], alpha: float) -> Markup:
    """The flag rate of every file as a bar, the accepted rate as a line; what failed hangs below the axis."""
    base, reach, width = TALL - 22, TALL - 40, WIDE / max(len(steps), 12)
    rates = [step.flagged / step.scored if step.scored else 0.0 for step in steps]
    top = max([3 * alpha, *(min(rate, 20 * alpha) for rate in rates)])
    level = base - reach * alpha / top
    bars = Markup("")
    for at, (step, rate) in enumerate(zip(steps, rates, strict=True)):
        tall = max(reach * min(rate / top, 1.0), 1.5)
        bar = _rect(f"bar {KIND[step.verdict]}", at * width + 1, base - tall, max(width - 2, 1.0), tall)
        bars += _titled(_spoken(step, rate), bar + _triangle(step, (at + 0.5) * width, base + 5))
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


def _spoken(step: Step, rate: float) -> str:
    name = step.first if step.files == 1 else f"{step.files} files, {step.first} to {step.last}"
    return f"{name}: {step.verdict}, {step.flagged:,} of {step.scored:,} rows flagged ({100 * rate:.2g} %) {step.at}"


def _triangle(step: Step, x: float, y: float) -> Markup:
    """A mark for verdicts that are not ok, so that colour is not alone."""
    if step.verdict == "ok":
        return Markup("")
    return Markup('<path class="{}-mark" d="M{:.1f} {}l4 8h-8z"/>').format(KIND[step.verdict], x, y)


def _rect(css: str, x: float, y: float, width: float, height: float) -> Markup:
    shape = Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>')
    return shape.format(css, x, y, width, height)


def _titled(told: str, inside: Markup) -> Markup:
    return Markup("<g><title>{}</title>{}</g>").format(plain(told, 200), inside)


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


def column(shape: Shape, mark: Mark | None = None) -> Markup | None:
    """A column's training rows, and among them what was seen and expected; None where nothing can be drawn."""
    return _number(shape, mark or Mark()) if shape.edges else _names(shape, mark)


def _number(shape: Shape, mark: Mark) -> Markup | None:
    left, right = _middle(shape.edges)
    span = right - left
    if not span > 0 or not math.isfinite(span):
        return None
    known = [value for value in (mark.seen, mark.expected, mark.low, mark.high) if value is not None]
    near = [min(max(value, left - 0.35 * span), right + 0.35 * span) for value in known]
    start, end = min([left, *near]), max([right, *near])

    def x(value: float) -> float:
        return 8 + (CARD - 16) * (min(max(value, start), end) - start) / (end - start)

    marks = Markup("")
    if mark.low is not None and mark.high is not None:
        wide = max(x(mark.high) - x(mark.low), 1.5)
        marks += _rect("range", x(mark.low), BASE + 2, wide, 5)
    if mark.expected is not None:
        marks += _expected(x(mark.expected))
    if mark.seen is not None and start <= mark.seen <= end:
        marks += _seen(x(mark.seen))
    elif mark.seen is not None:  # an arrow: further out than can be shown
        marks += Markup('<path class="seen" d="M{:.1f} 14l{} -6v12z"/>').format(
            x(mark.seen), -9 if mark.seen > end else 9
        )
    return _framed(shape, mark, Markup('<path class="real" d="{}"/>').format(_bins(shape, x, span)) + marks)


def _middle(edges: Sequence[float]) -> tuple[float, float]:
    """Where most training rows are: a long tail must not flatten all the rest."""
    reach = 0.6 * (edges[-2] - edges[1]) if len(edges) > 3 else math.inf
    return max(edges[0], edges[1] - reach), min(edges[-1], edges[-2] + reach)


def _bins(shape: Shape, x: Callable[[float], float], span: float) -> str:
    """Bins of a number as areas: as high as they are dense; one narrow bin must not flatten all others."""
    heights = [
        count / max(b - a, 0.002 * span) for count, (a, b) in zip(shape.counts, pairwise(shape.edges), strict=True)
    ]
    top = sorted(heights)[-1 - len(heights) // 20] or max(heights) or 1.0
    return "".join(
        f"M{x(a):.1f} {BASE}V{BASE - (BASE - 4) * min(height / top, 1.0):.1f}H{max(x(b), x(a) + 0.8):.1f}V{BASE}z"
        for height, (a, b) in zip(heights, pairwise(shape.edges), strict=True)
        if height > 0
    )


def _names(shape: Shape, mark: Mark | None) -> Markup | None:
    if not sum(shape.counts):
        return None
    names, top = list(shape.names[:LEVELS]), max(shape.counts)
    width = CARD / (len(names) + 1)  # a value never seen stands alone at the right
    inside = Markup("")
    for i, (name, count) in enumerate(zip(names, shape.counts, strict=False)):
        tall = (BASE - 4) * count / top
        bar = _rect("real", i * width + 1, BASE - tall, width - 2, tall)
        inside += _titled(f"{plain(name, 60)}: {count:,} training rows", bar)
    if mark is not None:
        place = {name: (i + 0.5) * width for i, name in enumerate(names)}
        inside += _seen(place.get(mark.seen_name, (len(names) + 0.5) * width))
        if mark.expected_name in place:
            inside += _expected(place[mark.expected_name])
    return _framed(shape, mark or Mark(), inside)


def _seen(at: float) -> Markup:
    return Markup('<path class="seen" d="M{:.1f} 14l6 -6l6 6l-6 6z"/>').format(at - 6)


def _expected(at: float) -> Markup:
    return Markup('<path class="expected" d="M{:.1f} 3V{}"/>').format(at, LOW - 2)


def _framed(shape: Shape, mark: Mark, inside: Markup) -> Markup:
    told = f"training rows of {plain(shape.column, 40)}"
    if mark.seen_name or mark.expected_name:
        told += f"; seen {plain(mark.seen_name, 40) or 'nothing'}, expected {plain(mark.expected_name, 40)}"
    frame = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}<path class="axis" d="M0 {}H{}"/></svg>')
    return frame.format(CARD, LOW, told, inside, BASE, CARD)


def share_bar(share: float) -> Markup:
    """A thin bar for a table."""
    bar = Markup(
        '<svg class="share" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        '<path class="filled" d="M0 1h{0:.1f}v6h-{0:.1f}z"/></svg>'
    )
    return bar.format(100 * share)

"""What `threshold` prints: the promise, other choices, the history."""

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from anomvae.report.terminal import cell, history_lines, threshold_lines, warning_lines
from anomvae.results import ThresholdResult


def threshold_report(result: ThresholdResult) -> RenderableType:
    """The threshold with its promise, alternatives, and what set it."""
    parts: list[RenderableType] = [*threshold_lines(result.calibration, result.history), _alternatives(result)]
    if any(one.estimated for one in result.alternatives):
        parts.append(Text("* estimated: beyond the calibration rows, no guarantee", style="dim"))
    parts += [*history_lines(result.history), *warning_lines(result.warnings)]
    if result.changed:
        parts.append(Text.assemble("Saved ", cell(result.model, 80, "bold"), f"  sha256 {result.model_id[:12]}"))
    return Group(*parts)


def _alternatives(result: ThresholdResult) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("alpha", "threshold", "false alarms per 1,000", "95 % CI"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in result.alternatives:
        mark = "*" if one.estimated else " "
        interval = f"{1000 * one.rate_low:.1f}-{1000 * one.rate_high:.1f}"
        table.add_row(f"{one.alpha:g}", f"{one.threshold:.3f}{mark}", f"{1000 * one.alpha:g}", interval)
    return table

"""The past of a watched folder: a line of sparks for files, rows and flag rate, and a table of its days or hours."""

from itertools import pairwise

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from anomvae.deliveries import Period

SPARKS = "▁▂▃▄▅▆▇█"
LINES = 31  # periods in the table, the newest; the sparks show all


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
    return [*lines, *_changes(periods), _table(periods[-LINES:], alpha)]


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


def _changes(periods: tuple[Period, ...]) -> list[Text]:
    """When another model took over."""
    used = [(one.at, model) for one in periods for model in one.models]
    return [
        Text(f"model {new[:12]} after {old[:12]} at {_when(at)}", "yellow")
        for (_, old), (at, new) in pairwise(used)
        if new != old
    ]


def _table(periods: tuple[Period, ...], alpha: float) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("since (UTC)", no_wrap=True)
    for name in ("files", "drifted", "refused", "rows", "flagged", "rate", "critical"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in periods:
        rate = "" if one.flag_rate is None else f"{100 * one.flag_rate:.2f} %"
        style = "red" if (one.flag_rate or 0.0) > 3 * alpha else ""
        counts = [f"{n:,}" for n in (one.files, one.drifted, one.quarantined, one.rows, one.flagged)]
        idle = "" if one.files or one.quarantined else "dim"
        table.add_row(_when(one.at), *counts, Text(rate, style), f"{one.critical:,}", style=idle)
    return table


def _when(at: str) -> str:
    return at[:16].replace("T", " ") if "T" in at else at

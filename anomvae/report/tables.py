"""The cells and tables that all reports on the terminal share.

Every value goes through `cell`, since rich does not make untrusted text harmless.
"""

from rich import box
from rich.console import Console, RenderableType
from rich.table import Column, Table
from rich.text import Text

from anomvae.report.sanitize import sanitize


def console(stderr: bool = False, width: int | None = None) -> Console:
    """A console without markup, emoji codes or guessing; it honours NO_COLOR, FORCE_COLOR and TERM."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, width=width, soft_wrap=False)


def cell(value: object, limit: int = 60, style: str = "") -> Text:
    """Untrusted text as one harmless line."""
    return Text(sanitize(value, limit), style=style, no_wrap=True, overflow="ellipsis")


def table(*columns: Column, expand: bool = False) -> Table:
    """A table in the style of all reports: a line below its head, no frame; with `expand` as wide as the terminal."""
    return Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, expand=expand)


def text_column(name: str, *, width: int | None = None, share: int | None = None) -> Column:
    """A column of text on one line each, cut where it is too long.

    Args:
        name: its head.
        width: the characters that it has at least.
        share: of the width that the other columns leave, in proportion to the shares of others.
    """
    return Column(name, no_wrap=True, overflow="ellipsis", min_width=width, ratio=share)


def number_column(name: str, *, width: int | None = None) -> Column:
    """A column of numbers, to the right; arguments as of `text_column`."""
    return Column(name, justify="right", no_wrap=True, min_width=width)


def figure(value: float, digits: int) -> str:
    """A number with so many digits behind the point, or, where it would have more than six in all, its magnitude."""
    return f"{value:.{digits}f}" if value < 10 ** (6 - digits) else f"{value:.1e}"


def warning_lines(warnings: tuple[str, ...]) -> list[RenderableType]:
    """Warnings, the first dozen."""
    shown: list[RenderableType] = [Text.assemble(("! ", "yellow"), cell(text, 220)) for text in warnings[:12]]
    if len(warnings) > 12:
        shown.append(Text(f"! ... and {len(warnings) - 12} more warnings", style="yellow"))
    return shown

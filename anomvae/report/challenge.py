"""What `fit --compare` prints: two models side by side."""

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from anomvae.challenge import Challenge, Side
from anomvae.report.cell import plain


def challenge_lines(found: Challenge) -> list[RenderableType]:
    """Both models, line by line, and on how many rows they agree."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column(f"on {found.rows:,} held-out rows", no_wrap=True)
    for name, side in (("in use", found.champion), ("new", found.challenger)):
        table.add_column(f"{name}: {plain(side.model, 30)}", justify="right", no_wrap=True, overflow="ellipsis")
    for label, cells in _rows(found.champion, found.challenger):
        table.add_row(label, *cells)
    agreed = f"flagged by both {found.both:,}, only by the one in use {found.champion_only:,}"
    told: list[RenderableType] = [table, Text(f"{agreed}, only by the new one {found.challenger_only:,}")]
    if found.unreadable:
        told.append(Text(f"{found.unreadable:,} held-out rows are unreadable for one of them", style="yellow"))
    return told


def _rows(*sides: Side) -> list[tuple[str, list[str]]]:
    rows = [
        ("flagged", [f"{side.flagged:,}" for side in sides]),
        ("rate (95 %)", [f"{100 * s.rate:.2f} % ({100 * s.low:.2f}-{100 * s.high:.2f})" for s in sides]),
        ("alpha", [f"{100 * side.alpha:g} %" for side in sides]),
        ("mean score", [f"{side.mean_score:.3f}" for side in sides]),
    ]
    kinds = list(dict.fromkeys(kind for side in sides for kind in side.power))
    found = [
        (f"finds {kind}", [f"{100 * s.power[kind]:.0f} %" if kind in s.power else "-" for s in sides]) for kind in kinds
    ]
    return rows + found

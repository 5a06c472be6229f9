"""What `generate` prints in the terminal: counts of the rows that were made, and rows that are images as pictures."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from anomvae.report.tables import cell
from anomvae.synthesis.records import GenerateResult, Picture

SHADES = " ░▒▓█"


def generate_report(result: GenerateResult) -> RenderableType:
    """The pictures if there are any, then how many rows were made and how many were refused."""
    parts: list[RenderableType] = []
    if result.typical:
        parts += [_gallery(result), Text()]
    where = f" where {result.conditions}" if result.conditions else ""
    parts.append(
        Text.assemble(
            (f"{result.rows:,} synthetic row{'s' * (result.rows != 1)}", "bold"),
            cell(where, 120),
            f"  seed {result.seed}",
        )
    )
    if result.classes:
        parts.append(cell("added: " + ", ".join(f"{one.name} {one.rows:,}" for one in result.classes), 200))
    if result.gate:
        parts.append(Text(_refused(result), style="dim"))
    if result.kept:
        text = f"{result.kept:,} rows are unlike training or copies whatever is drawn for them; they were kept"
        parts.append(Text(text, style="yellow"))
    if result.anomalies:
        parts.append(Text("spoilt on purpose: " + ", ".join(f"{one.name} {one.rows:,}" for one in result.anomalies)))
    if result.output not in ("", "-"):
        parts.append(Text.assemble("wrote ", cell(result.output, 120)))
    return Group(*parts)


def _refused(result: GenerateResult) -> str:
    """How many rows the privacy filter refused, and why."""
    share = 100 * result.unlike / max(result.drawn, 1)
    text = f"{result.drawn:,} drawn; refused and replaced: {result.unlike:,} unlike training ({share:.1f} %; "
    return text + f"of real rows about 0.1 %), {result.copies:,} copies of a training row"


def _gallery(result: GenerateResult) -> RenderableType:
    """Every synthetic row as its values and its picture, and a typical training row beside the first."""
    grid = Table.grid(padding=(0, 4))
    for _ in range(3):
        grid.add_column()
    typical = result.typical
    for i, one in enumerate(result.pictures, 1):
        first = i == 1 and typical is not None
        title = Text("a typical training row" if first else "", style="dim")
        grid.add_row(Text(f"synthetic row {i}", style="bold"), Text(), title)
        grid.add_row(picture_cells(one), picture_shades(one), picture_shades(typical) if first and typical else Text())
    return grid


def picture_cells(picture: Picture) -> Text:
    """The cells of a picture as text, `side` of them in each line."""
    width = max(len(text) for text in picture.cells)
    rows = [picture.cells[i : i + picture.side] for i in range(0, len(picture.cells), picture.side)]
    return Text("\n".join(" ".join(text.rjust(width) for text in row) for row in rows))


def picture_shades(picture: Picture) -> Text:
    """A picture as text, two characters a pixel: shaded blocks, which a terminal with colours shows in grey."""
    out = Text()
    for i, shade in enumerate(picture.shades):
        if i and i % picture.side == 0:
            out.append("\n")
        grey = round(70 + 185 * shade)
        out.append(2 * SHADES[min(int(shade * len(SHADES)), len(SHADES) - 1)], style=f"rgb({grey},{grey},{grey})")
    return out

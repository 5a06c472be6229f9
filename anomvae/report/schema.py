"""How the columns of a training table are read, on the terminal: for `schema`, `fit` and `inspect`.

What is left out of a model without anybody having asked for it stands first, and nothing is cut: cells are wrapped.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from anomvae.records.columns import ColumnReport, misfits_text, noteworthy, share_text
from anomvae.records.schema import SchemaResult
from anomvae.records.sentences import TableWarning, WarningCode, column_writing, shortened, table_warning
from anomvae.report.sanitize import sanitize
from anomvae.report.tables import number_column, table

MOST_ROWS = 20  # columns of a model that `fit` and `inspect` list one by one
MOST_LEFT_OUT = 12  # columns left out that they list
LONGEST = 4000  # characters of a text that is wrapped; longer ones are no names, reasons or examples
EXAMPLE = 40  # characters of an example
WIDEST_NAME = 20  # characters of a name on one line
LOUD: frozenset[WarningCode] = frozenset({"open_dates", "sentinels", "mixed_units", "rows_lost", "rows_refused"})


def schema_report(result: SchemaResult) -> RenderableType:
    """What `schema` prints: what is left out, what to look at, then every column of the model."""
    head = Text.assemble((f"{result.rows:,} rows", "bold"), f" of {result.rows_read:,} read, nothing is trained")
    if result.selection:
        head.append(f"; where {sanitize(result.selection, LONGEST)}")
    if result.rows_rejected:
        head.append(f"; rows that cannot be read: {result.rows_rejected:,}", "yellow")
    parts: list[RenderableType] = [head, *_left_out(result.columns, len(result.columns)), *loud_lines(result.warnings)]
    modelled = [column for column in result.columns if column.modelled]
    parts.append(_table(modelled) if modelled else Text("No column can be modelled.", style="bold red"))
    others = (one for one in quiet_warnings(result.warnings) if one.code != "rejected_row" or not one.column)
    parts += [_wrapped(f"! {table_warning(one)}", "yellow") for one in others]  # the table has cells that do not fit
    if result.output:
        text = f"wrote {result.output}: look at it, change what is wrong, then: anomvae fit -c {result.output}"
        parts.append(_wrapped(text))
    return Group(*parts)


def column_lines(columns: Sequence[ColumnReport]) -> list[RenderableType]:
    """What `fit` and `inspect` print of columns: those left out first; the others in short where they are many."""
    modelled = [column for column in columns if column.modelled]
    shown = _in_short(modelled) if len(modelled) > MOST_ROWS else _short_table(modelled)
    return [*_left_out(columns, MOST_LEFT_OUT), shown]


def loud_lines(warnings: Iterable[TableWarning]) -> list[RenderableType]:
    """The warnings that say how columns may have been misread."""
    return [_wrapped(f"! {table_warning(one)}", "bold yellow") for one in warnings if one.code in LOUD]


def quiet_warnings(warnings: Iterable[TableWarning]) -> list[TableWarning]:
    """The other warnings."""
    return [one for one in warnings if one.code not in LOUD]


def _left_out(columns: Sequence[ColumnReport], most: int) -> list[RenderableType]:
    """The columns that are left out though nobody asked for it, at most so many, then the others in one line."""
    missed = [column for column in columns if not column.modelled and not column.asked]
    asked = [column for column in columns if not column.modelled and column.asked]
    lines: list[RenderableType] = []
    if missed:
        verb = "is" if len(missed) == 1 else "are"
        lines.append(
            _wrapped(f"! {len(missed)} of {len(columns)} columns {verb} LEFT OUT of the model:", "bold yellow")
        )
    for column in missed[:most]:
        lines += _missed(column)
    if len(missed) > most:
        lines.append(Text(f"  ... and {len(missed) - most:,} more: `anomvae schema` lists them all", style="yellow"))
    if asked:
        names = ", ".join(f"{column.name} ({column.reason})" for column in asked)
        lines.append(_wrapped(f"left out as asked: {names}", "dim"))
    return lines


def _missed(column: ColumnReport) -> list[RenderableType]:
    """Why a column is left out, and the lines of TOML that keep it."""
    name = column.name or "(a column without a name)"
    example = f"; for example {_quoted(column.examples)}" if column.examples else ""
    lines: list[RenderableType] = [_indented(f"{name}: {column.reason}{example}", 2, "yellow")]
    if column.keep:
        lines.append(_indented("to keep it, add to anomvae.toml:", 4))
        lines += [_indented(line, 6, "bold") for line in column.keep.splitlines()]
    return lines


def _table(columns: Sequence[ColumnReport]) -> Table:
    """Every column of the model with examples, and with the first cell that does not fit."""
    misfits = any(column.misfits for column in columns)
    rows = table(
        _name_column(columns),
        Column("kind", no_wrap=True),
        Column("how it is written", overflow="fold", ratio=4),
        Column("examples", overflow="fold", ratio=3),
        *([number_column("no fit", width=6)] if misfits else []),
        expand=True,
    )
    for column in columns:
        written = _wrapped(_written(column))
        if column.misfits:
            written.append(("\n" if written else "") + sanitize(misfits_text(column.misfits), LONGEST), "yellow")
        share = [Text(share_text(column.misfits.share), style="yellow")] if column.misfits else []
        rows.add_row(_wrapped(column.name), column.kind, written, _wrapped(_quoted(column.examples)), *share)
    return rows


def _short_table(columns: Sequence[ColumnReport]) -> Table:
    """Every column of the model with its values, gaps, and how it is written."""
    rows = table(
        _name_column(columns),
        Column("kind", no_wrap=True),
        Column("values", overflow="fold", max_width=24),
        number_column("gaps", width=6),
        Column("how it is written", overflow="fold", ratio=1),
        expand=True,
    )
    for column in columns:
        gaps = f"{100 * column.missing_share:.1f} %" if column.missing_share else ""
        rows.add_row(_wrapped(column.name), column.kind, _wrapped(_values(column)), gaps, _wrapped(_written(column)))
    return rows


def _in_short(columns: Sequence[ColumnReport]) -> RenderableType:
    kinds = Counter(column.kind for column in columns)
    counted = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    constant = sum(map(_is_constant, columns))
    told = f" ({constant} constant: a change is surprising)" if constant else ""
    return Text(f"Columns: {counted}{told}; `anomvae schema` shows how each is written")


def _is_constant(column: ColumnReport) -> bool:
    """Whether a modelled column had one value in training; a date has levels of its parts, which say nothing of it."""
    one = column.low is not None and column.low == column.high
    return column.kind != "datetime" and (one or column.levels == 1)


def _values(column: ColumnReport) -> str:
    """The range of a column of numbers, or how many values another one has."""
    if column.low is not None and column.high is not None:
        return f"{column.low:g} to {column.high:g}"
    return f"{column.levels} values" if column.levels is not None and column.kind != "datetime" else ""


def _written(column: ColumnReport) -> str:
    """How a column is written, and what else is worth knowing about it."""
    return "; ".join(filter(None, (column_writing(column.writing), noteworthy(column))))


def _quoted(texts: Iterable[str]) -> str:
    return ", ".join(f"'{shortened(text, EXAMPLE)}'" for text in texts)


def _name_column(columns: Sequence[ColumnReport]) -> Column:
    """The column of names, wide enough for most of them; longer ones are wrapped."""
    longest = max((len(column.name) for column in columns), default=0)
    return Column("column", overflow="fold", width=min(max(longest, 6), WIDEST_NAME))


def _wrapped(value: str, style: str = "") -> Text:
    """Untrusted text, harmless, that may take several lines."""
    return Text("\n".join(sanitize(line, LONGEST) for line in value.split("\n")), style=style, overflow="fold")


def _indented(value: str, by: int, style: str = "") -> Padding:
    """Untrusted text, all of whose lines begin so many characters from the left."""
    return Padding(_wrapped(value, style), (0, 0, 0, by), expand=False)

"""How the cells of a column are written: as a record for people, and as settings that state it."""

from anomvae.config import ColumnSettings
from anomvae.errors import DataError
from anomvae.model.schema import EMPTY, NUMERIC, USUAL, Column, limit_of
from anomvae.model.value_formatting import mark_parts
from anomvae.records.sentences import Writing

ASKED = frozenset({"dropped", "id", "label", "ignored"})  # reasons of columns that the user wants left out
KEPT_AS_CATEGORY = frozenset({"identifier", "free_text", "running_number"})


def settings_of(column: Column) -> ColumnSettings:
    """The settings that say of a column all that its cells say; a date whose order is open has no format there.

    Of a column whose cells no output may show, texts of its cells are left out.
    """
    if column.kind == "datetime":
        written = column.dates[0].pattern if len(column.dates) == 1 else None
        return ColumnSettings(kind=column.kind, format=written, gaps=_own_gaps(column))
    if column.kind not in NUMERIC:
        return ColumnSettings(kind=column.kind)
    number = column.number
    return ColumnSettings(
        kind=column.kind,
        decimal=number.decimal,
        thousands=number.thousands,
        prefix=number.affix.prefix or None,
        suffix=number.affix.suffix or None,
        negative=None if number.negative == "minus" else number.negative,
        gaps=_own_gaps(column),
    )


def settings_to_keep(column: Column) -> ColumnSettings | None:
    """The settings that keep a column which is left out, though nobody asked for that; None where nothing keeps it."""
    return ColumnSettings(kind="categorical") if column.reason.code in KEPT_AS_CATEGORY else None


def _own_gaps(column: Column) -> tuple[str, ...]:
    return () if column.redacted else column.gaps


def writing_of(column: Column) -> Writing:
    """How the cells of a column are written."""
    if not column.modelled or column.kind == "categorical":
        return Writing()
    if column.kind == "boolean":
        return Writing() if column.redacted else Writing(words=(column.true, column.false))
    gap_marks = () if column.redacted else _gap_marks(column)
    sentinels = sentinels_of(column)
    gaps = tuple(mark for mark in gap_marks if mark not in sentinels)
    if column.kind == "datetime":
        return Writing(
            formats=tuple(written.pattern for written in column.dates),
            dates=tuple(map(str, column.dates)),
            zone=column.dates[0].zone,
            gaps=gaps,
            sentinels=sentinels,
        )
    number = column.number
    return Writing(
        digits=number.digits,
        decimal=number.decimal,
        thousands=number.thousands,
        prefix=number.affix.prefix,
        suffix=number.affix.suffix,
        negative=number.negative,
        units=units_of(column),
        limits=tuple(dict.fromkeys(sign for mark in column.marks if (sign := _value_mark(column, mark)[0]))),
        gaps=gaps,
        sentinels=sentinels,
    )


def sentinels_of(column: Column) -> tuple[str, ...]:
    """The texts that are a number or a date, such as -999, and stand for a gap; none where no output may show them."""
    return tuple(text for text in _own_gaps(column) if _is_value(column, text))


def units_of(column: Column) -> tuple[str, ...]:
    """What stands beside some of its numbers in place of the usual unit: another one, or none ("no EUR")."""
    if column.redacted or column.kind not in NUMERIC:
        return ()
    return tuple(dict.fromkeys(unit for mark in column.marks if (unit := unit_of(column, mark))))


def unit_of(column: Column, mark: str) -> str:
    """The unusual unit in the mark of a value; empty for a value with the usual one, and for a gap."""
    return _value_mark(column, mark)[1]


def _value_mark(column: Column, mark: str) -> tuple[str, str]:
    """The sign of a limit and the unusual unit in the mark of a value; both empty for a usual one, and for a gap."""
    usual = mark in (USUAL, EMPTY) or column.is_gap(mark)
    return ("", "") if usual else mark_parts(mark)


def _gap_marks(column: Column) -> tuple[str, ...]:
    """Texts that stood for a gap in training, the commonest first, and those that the user has stated."""
    seen = [mark for mark in column.marks if mark != EMPTY and column.is_gap(mark)]
    return tuple(dict.fromkeys((*seen, *column.gaps)))


def _is_value(column: Column, text: str) -> bool:
    """Whether a text would be read as a number or a date, if it were no gap."""
    limit = limit_of(text)
    try:
        if column.kind == "datetime":
            column.dates[0].read(text)
        else:
            column.number.read(limit[1] if limit else text)
    except DataError:
        return False
    return True

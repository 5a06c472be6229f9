"""The header of a file: where the columns of a model stand in it, or why the file is refused."""

import unicodedata
from collections import Counter
from collections.abc import Sequence

from anomvae.errors import DataError
from anomvae.model.value_parsing import is_value
from anomvae.records.sentences import TableWarning
from anomvae.table.csv_decode import COMMENTS, MAX_COLUMNS
from anomvae.table.header_search import DELIMITERS

SHOWN = 8  # names in a message


def clean(names: Sequence[str]) -> list[str]:
    """Column names without byte-order marks.

    Raises:
        DataError: more than 10,000 columns.
    """
    if len(names) > MAX_COLUMNS:
        raise DataError("too_many_columns", f"has {len(names):,} columns, the limit is {MAX_COLUMNS:,}", line=1)
    return [name.replace("\ufeff", "") if i == 0 else name for i, name in enumerate(names)]


def check_training(names: Sequence[str], delimiter: str, line: int) -> None:
    """Refuse a training file whose first line is no header of different names.

    Args:
        names: the fields of the first line.
        delimiter: that they were split by.
        line: its number in the file.

    Raises:
        DataError: `no_header`, `delimiter_mismatch`, `duplicate_columns`.
    """
    _check_delimiter(names, delimiter, line)
    _check_is_header(names, line)
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        raise DataError("duplicate_columns", f"column '{twice[0]}' stands twice in the header", line=line)


def locate(
    names: Sequence[str], needed: Sequence[str], known: Sequence[str], delimiter: str, line: int
) -> tuple[list[int], list[TableWarning]]:
    """Positions of the model's columns in a file's header, and warnings.

    Args:
        names: the header.
        needed: columns that the model needs, in its order.
        known: all columns of the training table.
        delimiter: the model's delimiter.
        line: the header's line.

    Raises:
        DataError: a needed column is missing or stands twice, or this is no header at all.
    """
    missing = [name for name in needed if name not in names]
    if missing:
        _check_delimiter(names, delimiter, line)
        if len(missing) == len(needed):
            _check_is_header(names, line, known)
        raise DataError("missing_columns", _missing(missing, names, needed), line=line, column=missing[0])
    for name, count in Counter(names).items():
        if count > 1 and name in needed:
            raise DataError("duplicate_columns", f"column '{name}' stands {count} times", line=line, column=name)
    extra = extra_columns(names, known)
    warnings = [TableWarning(code="extra_columns", columns=tuple(extra))] if extra else []
    if "" in names:
        warnings.append(TableWarning(code="unnamed_column"))
    return [names.index(name) for name in needed], warnings


def extra_columns(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """Named columns of a header that the training table did not have."""
    return [name for name in names if name not in known and name]


def folded(name: str) -> str:
    """A name as people compare them: Unicode form, case and outer spaces set aside."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def _check_delimiter(names: Sequence[str], delimiter: str, line: int) -> None:
    if len(names) != 1:
        return
    for other, name in DELIMITERS.items():
        if other != delimiter and other in names[0]:
            message = f"columns seem to be split by a {name}, not by '{delimiter}'; see --delimiter"
            raise DataError("delimiter_mismatch", message, line=line)


def _check_is_header(names: Sequence[str], line: int, needed: Sequence[str] = ()) -> None:
    """Refuse a first line that is data or a comment; `needed` names the columns that it should name."""
    data = sum(map(is_value, names))
    comment = len(names) == 1 and names[0].startswith(COMMENTS) and names[0].strip() not in COMMENTS
    if data * 2 > len(names) or comment or not any(names):
        what = "a comment" if comment else "data"
        way_out = "add a header, or --skip-lines N when fitting"
        if needed and not comment:
            listed = ", ".join(needed[:SHOWN]) + (", ..." if len(needed) > SHOWN else "")
            way_out = (
                f"was the file rotated without its header? Put a line with the names of the columns on top ({listed})"
            )
        raise DataError("no_header", f"the first line looks like {what}, not column names; {way_out}", line=line)


def _missing(missing: list[str], names: Sequence[str], needed: Sequence[str]) -> str:
    near = _nearest(missing[0], [name for name in names if name not in needed])
    hint = f"; did you mean '{near}'?" if near else ""
    others = f" and {len(missing) - 1} more are" if len(missing) > 1 else " is"
    count = f"{len(needed)} expected, {len(needed) - len(missing)} found"
    return f"column '{missing[0]}'{others} missing ({count}{hint}). Rename it or refit"


def _nearest(name: str, names: list[str]) -> str | None:
    for other in names:
        if folded(other) == folded(name):
            return other
    import difflib  # only an error needs it

    return next(iter(difflib.get_close_matches(name, names, 1, 0.6)), None)

"""Words that stand for a gap, true or false in a cell of text, and what else is known of cells without their column.

How the numbers and dates of a column are written is found from its cells: `number_format.py`, `date_format.py`.
"""

import re

from anomvae.errors import DataError

MISSING = frozenset({"", "NA", "na", "N/A", "n/a", "null", "NULL", "None", "none", "nan", "NaN", "NAN"})  # everywhere
GAP_MARKS = MISSING | frozenset(  # in columns whose training cells had some
    {
        *("Na", "N.A.", "n.a.", "#N/A", "#NA", "#N/A N/A", "<NA>", "<N/A>", "NaT", "nat"),
        *("-nan", "-NaN", "1.#QNAN", "-1.#QNAN", "1.#IND", "-1.#IND"),
        *("Null", "(null)", "(NULL)", "<null>", "[NULL]", "\\N", "nil", "NIL", "NONE"),
        *("-", "--", "---", "\u2013", "\u2014", ".", "..", "...", "?", "??", "*", "(blank)", "(empty)", "(none)"),
        *("#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NULL!", "#ERROR!", "missing", "Missing", "MISSING"),
    }
)
TRUE = frozenset({"true", "t", "yes", "y"})
FALSE = frozenset({"false", "f", "no", "n"})

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?").fullmatch
_PADDED = re.compile(r"[+-]?0[0-9]+").fullmatch
_ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:Z|[+-][0-9]{2}:[0-9]{2})?)?"
).fullmatch


def quoted(text: str, limit: int = 40) -> str:
    """A cell for a message: in quotes, and cut where it is longer than `limit`."""
    return f"'{text if len(text) <= limit else text[: limit - 1] + '…'}'"


def is_number(text: str) -> bool:
    """Whether a cell is a number in plain notation, and not a padded identifier such as `00123`."""
    return bool(_NUMBER(text)) and not _PADDED(text)


def is_value(text: str) -> bool:
    """Whether a cell is a number or an ISO date, and so cannot be the name of a column."""
    return bool(_NUMBER(text.strip(" ")) or _ISO(text.strip(" ")))


def decimals(text: str) -> int:
    """Digits after the decimal sign of a number in plain notation."""
    return len(re.split("[eE]", text)[0].partition(".")[2])


def parse_boolean(text: str) -> float:
    """1.0 for true, 0.0 for false.

    Raises:
        DataError: `not_a_number` where the cell is neither.
    """
    word = text.lower()
    if word in TRUE:
        return 1.0
    if word in FALSE:
        return 0.0
    raise DataError("not_a_number", f"{quoted(text)} is neither true nor false")

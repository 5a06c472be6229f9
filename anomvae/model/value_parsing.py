"""Parses one cell of text as a number, date or boolean.

Values are floats: numbers, seconds since 1970 for dates, 0 and 1 for booleans, NaN for a missing cell. Parsing is
strict: numpy and float() accept `1_000`, full-width digits and `infinity`; here such a cell is an error, because a
number that was misread is worse than a row that was rejected.
"""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from anomvae.errors import DataError

MISSING = frozenset({"", "NA", "na", "N/A", "n/a", "null", "NULL", "None", "none", "nan", "NaN", "NAN"})
TRUE = frozenset({"true", "t", "yes", "y"})
FALSE = frozenset({"false", "f", "no", "n"})

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?").fullmatch
_COLUMN = re.compile(
    r"(?:[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?\n)*+"  # the same, one cell a line
).fullmatch
_INTEGER = re.compile(r"[+-]?[0-9]+").fullmatch
_INFINITE = re.compile(r"[+-]?(?:inf|infinity)", re.IGNORECASE).fullmatch
_PADDED = re.compile(r"[+-]?0[0-9]+").fullmatch
_ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:Z|[+-][0-9]{2}:[0-9]{2})?)?"
).fullmatch
ISO = "iso"
DATE_FORMATS = (
    ISO,
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d.%m.%Y",
    "%Y/%m/%d",
    "%d-%m-%Y",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M",
    "%d.%m.%Y %H:%M",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M:%S",
    "%d.%m.%Y %H:%M:%S",
    "%Y/%m/%d %H:%M:%S",
)


class NumberFormat:
    """How numbers are written in a table: decimal sign and thousands separator.

    Args:
        decimal: `.` or `,`.
        thousands: the separator between groups of three digits, or nothing.
    """

    def __init__(self, decimal: str = ".", thousands: str = "") -> None:
        self.decimal, self.thousands = decimal, thousands
        group = re.escape(thousands)
        self._grouped = re.compile(rf"[+-]?[0-9]{{1,3}}(?:{group}[0-9]{{3}})+(?![0-9]).*").fullmatch

    def plain(self, text: str) -> str:
        """The cell in plain notation: with a point as the decimal sign, and without groups of digits."""
        text = text.strip(" ")
        if self.thousands and self.thousands in text and self._grouped(text):
            text = text.replace(self.thousands, "")
        if self.decimal == ",":
            return text.replace(",", ".") if "." not in text else "?" + text
        return text

    def parse(self, text: str) -> float:
        """The number in a cell; NaN where it is missing (`MISSING`).

        Raises:
            DataError: `not_a_number`, or `non_finite` for infinities and overflow.
        """
        if text in MISSING:
            return math.nan
        plain = self.plain(text)
        if _NUMBER(plain):
            value = float(plain)
            if math.isinf(value):
                raise DataError("non_finite", f"{quoted(text)} is too large for a number")
            return value
        if plain in MISSING:
            return math.nan
        if _INFINITE(plain):
            raise DataError("non_finite", f"{quoted(text)} is not finite")
        raise DataError("not_a_number", f"{quoted(text)} is not a number{self._hint(plain)}")

    def parse_column(self, texts: Sequence[str]) -> list[float] | None:
        """Parse cells (n,) at once where all are finite numbers in plain notation; else None: use `parse`."""
        lines = "\n".join(texts) + "\n"
        # A quoted cell may hold a line break of its own, and then there are more lines than cells.
        if self.thousands or self.decimal != "." or not _COLUMN(lines) or lines.count("\n") != len(texts):
            return None
        values = list(map(float, texts))
        return values if all(map(math.isfinite, values)) else None

    def _hint(self, plain: str) -> str:
        """Advice for a cell that looks like a number of another format; else empty."""
        if self.decimal == "." and re.fullmatch(r"[+-]?[0-9]+,[0-9]+", plain):
            return " (a decimal comma? use --decimal , when fitting)"
        if re.fullmatch(r"[+-]?[0-9]{1,3}(?:[ ,._'\u00a0][0-9]{3})+(?:[.,][0-9]+)?", plain):
            return " (thousands separators? use --thousands when fitting)"
        return ""


def quoted(text: str, limit: int = 40) -> str:
    """A cell for a message: in quotes, and cut where it is longer than `limit`."""
    return f"'{text if len(text) <= limit else text[: limit - 1] + '…'}'"


def is_number(plain: str) -> bool:
    """Whether a cell in plain notation is a number, and not a padded identifier such as `00123`."""
    return bool(_NUMBER(plain)) and not _PADDED(plain)


def is_value(text: str) -> bool:
    """Whether a cell is a number or an ISO date, and so cannot be the name of a column."""
    return bool(_NUMBER(text.strip(" ")) or _ISO(text.strip(" ")))


def is_integer(plain: str) -> bool:
    """Whether a cell in plain notation is a whole number."""
    return bool(_INTEGER(plain))


def decimals(plain: str) -> int:
    """Digits after the decimal sign of a cell in plain notation."""
    mantissa = re.split("[eE]", plain)[0]
    return len(mantissa.partition(".")[2])


def parse_boolean(text: str) -> float:
    """1.0 for true, 0.0 for false, NaN for a missing cell.

    Raises:
        DataError: `not_a_number` where the cell is neither true, false nor missing.
    """
    word = text.strip(" ").lower()
    if word in TRUE:
        return 1.0
    if word in FALSE:
        return 0.0
    if text.strip(" ") in MISSING:
        return math.nan
    raise DataError("not_a_number", f"{quoted(text)} is neither true nor false")


def parse_date(text: str, style: str) -> float:
    """Seconds since 1970-01-01 (UTC where the text names no zone); NaN for a missing cell.

    Args:
        text: the cell.
        style: `iso` or a strptime format.

    Raises:
        DataError: `bad_date` where the cell is not a date of this style.
    """
    text = text.strip(" ")
    if text in MISSING:
        return math.nan
    try:
        moment = _iso(text) if style == ISO else datetime.strptime(text, style)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise DataError("bad_date", f"{quoted(text)} is not a date written like the training data's") from error


def _iso(text: str) -> datetime:
    if not _ISO(text):
        raise ValueError("not ISO 8601")
    return datetime.fromisoformat(text)

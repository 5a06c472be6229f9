"""How the dates of a column are written: reads them strictly, and writes them back in the same spelling."""

import re
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from fractions import Fraction

import msgspec

from anomvae.errors import DataError
from anomvae.model.date_patterns import (
    DAY,
    DIRECTIVES,
    EPOCHS,
    ISO,
    MONTHS,
    WEEKDAYS,
    ZONE,
    expression,
    reader,
    tokens,
)
from anomvae.model.value_parsing import quoted

ISO_WRITTEN = "%Y-%m-%dT%H:%M:%S"
STEPS = (("second", 1.0), ("minute", 60.0), ("hour", 3600.0))
SHORTHANDS = {"%F": "%Y-%m-%d", "%T": "%H:%M:%S", "%R": "%H:%M", "%D": "%m/%d/%y", "%h": "%b", "%Z": "%z", "%6f": "%f"}

_zone = re.compile(f"(?:{ZONE})?", re.ASCII).fullmatch
_half = re.compile(r"A(?:M|\.M\.)", re.ASCII | re.IGNORECASE).fullmatch
_WRITE: dict[str, Callable[[datetime], str]] = {
    "%Y": lambda t: f"{t.year:04}",
    "%y": lambda t: f"{t.year % 100:02}",
    "%m": lambda t: f"{t.month:02}",
    "%-m": lambda t: f"{t.month}",
    "%d": lambda t: f"{t.day:02}",
    "%-d": lambda t: f"{t.day}",
    "%e": lambda t: f"{t.day:2}",
    "%H": lambda t: f"{t.hour:02}",
    "%-H": lambda t: f"{t.hour}",
    "%I": lambda t: f"{(t.hour - 1) % 12 + 1:02}",
    "%-I": lambda t: f"{(t.hour - 1) % 12 + 1}",
    "%k": lambda t: f"{t.hour:2}",
    "%l": lambda t: f"{(t.hour - 1) % 12 + 1:2}",
    "%M": lambda t: f"{t.minute:02}",
    "%S": lambda t: f"{t.second:02}",
}
_NAMES: dict[str, Callable[[datetime], str]] = {
    "%b": lambda t: MONTHS[t.month - 1][:3],
    "%B": lambda t: MONTHS[t.month - 1],
    "%a": lambda t: WEEKDAYS[t.weekday()][:3],
    "%A": lambda t: WEEKDAYS[t.weekday()],
}
_PEOPLE = {  # the words of `DateFormat.__str__`, and those of spreadsheets and of Java
    **{directive.people: token for token, directive in reversed(DIRECTIVES.items())},
    **{"MMMM": "%B", "MMM": "%b", "yyyy": "%Y", "yy": "%y", "dd": "%d", "d": "%-d", "mm": "%m", "ss": "%S"},
    **{"AM/PM": "%p", "PM": "%p", "tt": "%p", "Z": "%z", "fff": "%3f", "SSS": "%3f"},
}
_HOURS = {token for token, directive in DIRECTIVES.items() if directive.part == "hour"}
_PEOPLE_WORD = re.compile(f"({'|'.join(sorted(_PEOPLE, key=len, reverse=True))})")


class DateFormat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How the dates of a column are written.

    `pattern`: directives of strftime (`%-d` for a day without padding, `%3f` for three digits of a fraction), `iso`,
    or the unit of a count since 1970, such as `epoch:ms`. `written`: the pattern that an ISO date is written in, or
    the fraction of a count. `zone`: the time zone that is written back. `half`: how the morning is written, such as
    `a.m.`. `case`: `upper` or `lower` where names of months and weekdays are.

    Values are seconds since 1970-01-01 of the clock on the wall: 10:00+02:00 and 10:00+01:00 are both ten o'clock.
    A zone has to be valid and shifts nothing. Counts since 1970 are of UTC, and times of day are dated 1970-01-01.
    """

    pattern: str
    written: str = ""
    zone: str = ""
    half: str = "AM"
    case: str = ""

    def __post_init__(self) -> None:
        """Check all fields, as a format may come from a file.

        Raises:
            ValueError: a field cannot be used.
        """
        if self.pattern not in EPOCHS:
            expression(self.pattern)
        if self.written:
            tokens(f"%H:%M:%S{self.written}" if self.pattern in EPOCHS else self.written)
        if not (_zone(self.zone) and _half(self.half) and self.case in ("", "upper", "lower")):
            raise ValueError(f"no date is written with '{self.zone}', '{self.half}' and '{self.case}'")

    def read(self, text: str) -> float:
        """The seconds of one cell.

        Raises:
            DataError: `bad_date` where the cell is no date of this format.
        """
        seconds = self.seconds(text)
        if seconds is None:
            raise DataError("bad_date", f"{quoted(text)} is not a date written like the training data's")
        return seconds

    def seconds(self, text: str) -> float | None:
        """The seconds of one cell, or None where it is no date of this format."""
        match_whole, seconds_of = reader(self.pattern)
        match = match_whole(text)
        try:
            return seconds_of(match) if match else None
        except ValueError:
            return None

    def read_column(self, texts: Iterable[str]) -> list[float] | None:
        """The seconds of all cells, or None where one of them is no date of this format."""
        match_whole, seconds_of = reader(self.pattern)
        values = []
        try:
            for text in texts:
                match = match_whole(text)
                if match is None:
                    return None
                values.append(seconds_of(match))
        except ValueError:
            return None
        return values

    @property
    def _writing(self) -> tuple[str, ...]:
        """What a date is written with: directives, and the text between them."""
        return tokens((self.written or ISO_WRITTEN) if self.pattern == ISO else self.pattern)

    @property
    def _fraction_digits(self) -> int:
        """Digits that are written of the fraction of a second, or of a count."""
        written = self.written if self.pattern in EPOCHS else "".join(self._writing)
        found = re.search("%([0-9]?)f", written)
        return int(found[1] or 6) if found else 0

    @property
    def resolution(self) -> float:
        """Seconds between two dates that can be written; a day where only months are, as these differ in length."""
        digits = EPOCHS.get(self.pattern, 0) + self._fraction_digits
        if digits or self.pattern in EPOCHS:
            return float(Fraction(1, 10**digits))
        parts = {DIRECTIVES[token].part for token in self._writing if token in DIRECTIVES}
        return next((step for part, step in STEPS if part in parts), float(DAY))

    def write(self, seconds: float) -> str:
        """The date of these seconds; what is finer than `resolution` is cut off, or rounded where it is a fraction.

        Raises:
            DataError: `bad_date` outside the years 1 to 9999.
        """
        digits = self._fraction_digits
        scale = 10 ** (digits + EPOCHS.get(self.pattern, 0))
        units = round(Fraction(seconds) * scale)
        if self.pattern in EPOCHS:
            return self._count(units, digits)
        whole, fraction = divmod(units, scale)
        try:
            moment = datetime(1970, 1, 1) + timedelta(seconds=whole)
        except OverflowError as error:
            raise DataError("bad_date", f"no date is {seconds:.0f} seconds from 1970: years are 1 to 9999") from error
        text = "".join(self._piece(token, moment, f"{fraction:0{digits}}") for token in self._writing)
        return text + self.zone if self.pattern == ISO and "%H" in self._writing else text

    def _count(self, units: int, digits: int) -> str:
        """A count since 1970 from its smallest units."""
        if not digits:
            return str(units)
        whole, fraction = divmod(abs(units), 10**digits)
        return f"{'-' if units < 0 else ''}{whole}.{fraction:0{digits}}"

    def _piece(self, item: str, moment: datetime, fraction: str) -> str:
        """What stands in a cell for one directive, or for the text between two."""
        if item in _WRITE:
            return _WRITE[item](moment)
        if item in _NAMES:
            name = _NAMES[item](moment)
            return name.upper() if self.case == "upper" else name.lower() if self.case == "lower" else name
        if item == "%p":
            return self.half if moment.hour < 12 else self.half.replace("A", "P").replace("a", "p")
        if item == "%z":
            return self.zone
        return fraction if item in DIRECTIVES else item

    def __str__(self) -> str:
        """The format as people write it, such as `DD/MM/YYYY HH:MM`; `parse_pattern` reads it."""
        if self.pattern in EPOCHS:
            return self.pattern.replace(":", " in ")
        if self.pattern == ISO:
            return "ISO 8601"
        return "".join(DIRECTIVES[token].people if token in DIRECTIVES else token for token in tokens(self.pattern))


def parse_pattern(text: str) -> DateFormat:
    """The format that a user states: `%d.%m.%Y`, `DD/MM/YYYY`, `iso`, or a count such as `epoch:ms`.

    Raises:
        ValueError: the text is no format of dates; the message is one line.
    """
    stated = text.strip()
    name = stated.lower().replace(" in ", ":")
    if name in (ISO, "iso 8601", "iso8601"):
        return DateFormat(pattern=ISO)
    if name in EPOCHS:
        return DateFormat(pattern=name)
    if name.startswith("epoch"):
        raise ValueError(f"{quoted(text)} is no date format: counts since 1970 are {', '.join(EPOCHS)}")
    if "%" in stated:
        pattern = re.sub("%-?[0-9]?[A-Za-z]", lambda match: SHORTHANDS.get(match[0], match[0]), stated)
    else:
        pattern = _from_words(stated)
    return DateFormat(pattern=pattern, zone="+00:00" if "%z" in pattern else "")


def _from_words(stated: str) -> str:
    """A pattern from the words of people, such as `DD/MM/YYYY HH:MM`: two Ms behind the hour are minutes."""
    pieces: list[str] = []
    for word in _PEOPLE_WORD.split(stated):
        directive = _PEOPLE.get(word, "")
        unknown = re.search("[A-Za-z0-9]+", word)
        if unknown and not directive and word != "T":
            raise ValueError(
                f"{quoted(stated)} is no date format: '{unknown[0]}' is unknown; write it like %d/%m/%Y %H:%M"
            )
        if directive == "%m" and _HOURS & set(pieces) and "%M" not in pieces:
            directive = "%M"
        pieces.append(directive or word)
    return "".join(pieces)

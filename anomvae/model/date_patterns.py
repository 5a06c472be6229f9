"""Patterns of dates: the directives of strftime that are read, and regular expressions made of them.

A pattern such as `%d.%m.%Y %H:%M` says how a cell is written. The width of a number is a matter of writing alone where
something stands between it and the next one: `%d` and `%-d` both read `3` and `03`. The same holds for short and long
names, upper and lower case, and the ways to write AM and PM. All else has to be as the pattern says.
"""

import re
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from typing import NamedTuple

ISO = "iso"
EPOCHS = {"epoch:s": 0, "epoch:ms": 3, "epoch:us": 6, "epoch:ns": 9}  # decimal places of a second that one count has
DAY = 86400
EPOCH_DAY = date(1970, 1, 1).toordinal()
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
PIVOT = 69  # two-digit years from here on are of the twentieth century, as POSIX has it
EARLIEST, LATEST = -2208988800, 7258118400  # an epoch count lies in 1900 to 2199, or it is of another unit

_SIXTY = "[0-5][0-9]"
_MONTH_NAMES = "|".join(f"{name[:3]}(?:{name[3:]})?" for name in MONTHS if name not in ("May", "September"))
_WEEKDAY_NAMES = "|".join(f"{name[:3]}(?:{name[3:]})?" for name in WEEKDAYS)
_ABBREVIATIONS = (
    "UTC|GMT|WET|WEST|BST|CET|CEST|EET|EEST|MSK|IST|JST|KST|AEST|AEDT|ACST|AWST|NZST|NZDT|"
    "EST|EDT|CST|CDT|MST|MDT|PST|PDT|AKST|AKDT|HST"
)
_OFFSET = rf"(?:-(?:0[0-9]|1[0-2])|\+(?:0[0-9]|1[0-4]))(?::?{_SIXTY})?"
ZONE = (
    rf" ?(?:[Zz]|(?:UTC|GMT)?{_OFFSET}(?: (?:{_ABBREVIATIONS}))?|{_ABBREVIATIONS}|[A-Z][A-Za-z]+/[A-Za-z_]+)"
    r"(?:\[[A-Za-z_]+(?:/[A-Za-z_]+)*\]| \([A-Za-z ]{2,50}\))?"
)


class Directive(NamedTuple):
    """One directive: the part of a date that it gives, what it reads, and how people write it.

    `reads_tight` is what it reads beside another number; empty where that cannot be.
    """

    part: str
    reads: str
    reads_tight: str
    people: str


_HOUR, _HOUR_TIGHT = "(?:[01]?[0-9]|2[0-3])", "(?:[01][0-9]|2[0-3])"
_HALF_HOUR, _HALF_HOUR_TIGHT = "(?:0?[1-9]|1[0-2])", "(?:0[1-9]|1[0-2])"
_NAME_OF_MONTH = f"(?i:{_MONTH_NAMES}|May|Sep(?:t|tember)?)"
DIRECTIVES = {
    "%Y": Directive("year", "[0-9]{4}", "[0-9]{4}", "YYYY"),
    "%y": Directive("year", "[0-9]{2}", "[0-9]{2}", "YY"),
    "%m": Directive("month", "[0-9]{1,2}", "[0-9]{2}", "MM"),
    "%-m": Directive("month", "[0-9]{1,2}", "", "M"),
    "%b": Directive("month", _NAME_OF_MONTH, _NAME_OF_MONTH, "Mon"),
    "%B": Directive("month", _NAME_OF_MONTH, _NAME_OF_MONTH, "Month"),
    "%d": Directive("day", "[0-9]{1,2}", "[0-9]{2}", "DD"),
    "%-d": Directive("day", "[0-9]{1,2}", "", "D"),
    "%e": Directive("day", "(?: [1-9]|[0-9]{2})", "", "_D"),
    "%a": Directive("weekday", f"(?i:{_WEEKDAY_NAMES})", "", "Day"),
    "%A": Directive("weekday", f"(?i:{_WEEKDAY_NAMES})", "", "Weekday"),
    "%H": Directive("hour", _HOUR, _HOUR_TIGHT, "HH"),
    "%-H": Directive("hour", _HOUR, "", "H"),
    "%I": Directive("hour", _HALF_HOUR, _HALF_HOUR_TIGHT, "hh"),
    "%-I": Directive("hour", _HALF_HOUR, "", "h"),
    "%k": Directive("hour", "(?: [0-9]|1[0-9]|2[0-3])", "", "_H"),
    "%l": Directive("hour", "(?: [1-9]|1[0-2])", "", "_h"),
    "%M": Directive("minute", _SIXTY, _SIXTY, "MM"),
    "%S": Directive("second", _SIXTY, _SIXTY, "SS"),
    "%f": Directive("fraction", "[0-9]{1,9}", "[0-9]{6}", "ffffff"),
    **{f"%{n}f": Directive("fraction", "[0-9]{1,9}", f"[0-9]{{{n}}}", "f" * n) for n in (1, 2, 3, 4, 5, 7, 8, 9)},
    "%p": Directive("half", r"(?i:[AP](?:M|\.M\.))", r"(?i:[AP](?:M|\.M\.))", "AM"),
    "%z": Directive("zone", f"(?:{ZONE})?", f"(?:{ZONE})?", "zone"),
}
PARTS = ("year", "month", "day", "weekday", "hour", "minute", "second", "fraction", "half")
_NAMES = frozenset({"%a", "%A", "%b", "%B", "%p", "%z"})  # directives that read no digits, or need not
_TOKEN = re.compile("(%(?:-?[A-Za-z]|[0-9]f))")
_ISO = (
    "(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
    rf"(?:[Tt ](?P<hour>{_HOUR_TIGHT}):(?P<minute>{_SIXTY})"
    rf"(?::(?P<second>{_SIXTY})(?:[.,](?P<fraction>[0-9]{{1,9}}))?)?(?P<zone>{ZONE})?)?"
    "(?P<weekday>)(?P<half>)"
)
_EPOCH = re.compile(r"(-?(?:0|[1-9][0-9]{0,18}))(?:\.([0-9]{1,9}))?")

Match = re.Match[str]


@lru_cache(maxsize=1024)
def tokens(pattern: str) -> tuple[str, ...]:
    """The directives of a pattern, and the text between them.

    Raises:
        ValueError: a directive is unknown, a part of a date comes twice, or the parts make no date.
    """
    found = tuple(token for token in _TOKEN.split(pattern) if token)
    unknown = [token for token in found if "%" in token and token not in DIRECTIVES]
    if unknown:
        raise ValueError(f"'{pattern}' is no date format: {unknown[0]} is unknown; known are {' '.join(DIRECTIVES)}")
    parts = [DIRECTIVES[token].part for token in found if token in DIRECTIVES]
    twice = next((part for part in parts if parts.count(part) > 1), None)
    if twice:
        raise ValueError(f"'{pattern}' is no date format: it has the {twice} twice")
    _check_parts(pattern, frozenset(parts), found)
    return found


def _check_parts(pattern: str, parts: frozenset[str], found: tuple[str, ...]) -> None:
    """Raise where a part of a date cannot be known without another one that is not there."""
    if parts & {"year", "month", "day", "weekday"}:
        needed = {"year", "month"} | (parts & {"day"})
        missing = needed - parts or ({"day"} - parts if parts & {"hour", "weekday"} else set())
        if missing:
            raise ValueError(f"'{pattern}' is no date format: it has no {min(missing)}, so it names no day")
    elif "hour" not in parts:
        raise ValueError(f"'{pattern}' is no date format: it has no date in it, such as %Y-%m-%d")
    for part, other in (("minute", "hour"), ("second", "minute"), ("fraction", "second"), ("half", "hour")):
        if part in parts and other not in parts:
            raise ValueError(f"'{pattern}' is no date format: it has the {part} but no {other}")
    if ("half" in parts) != bool({"%I", "%-I", "%l"} & set(found)):
        raise ValueError(f"'{pattern}' is no date format: %p belongs to %I, and %I to %p")


def has(pattern: str, part: str) -> bool:
    """Whether a pattern gives this part of a date."""
    return any(DIRECTIVES[token].part == part for token in tokens(pattern) if token in DIRECTIVES)


def is_all_digits(pattern: str) -> bool:
    """Whether cells of this pattern are digits alone, as numbers are."""
    if pattern in EPOCHS:
        return True
    return pattern != ISO and all(map(is_number, tokens(pattern)))


@lru_cache(maxsize=1024)
def expression(pattern: str) -> re.Pattern[str]:
    """The regular expression of `iso` or a pattern; every part of a date is one of its groups.

    Raises:
        ValueError: the pattern cannot be read, as for `tokens`, or numbers without a separator are of no fixed width.
    """
    if pattern == ISO:
        return re.compile(_ISO, re.ASCII)
    found = tokens(pattern)
    pieces, absent = [], set(PARTS) | {"zone"}
    for i, token in enumerate(found):
        if token not in DIRECTIVES:
            following = found[i + 1] if i + 1 < len(found) else ""
            marks_fraction = following in DIRECTIVES and DIRECTIVES[following].part == "fraction"
            pieces.append(re.escape(token[:-1] if marks_fraction and token[-1] in ".," else token))
            continue
        part = DIRECTIVES[token].part
        absent.discard(part)
        before = found[i - 1] if i else ""
        if part == "fraction" and before not in DIRECTIVES and before[-1] in ".,":
            pieces.append("(?:[.,](?P<fraction>[0-9]{1,9}))?")
        else:
            pieces.append(f"(?P<{part}>{_reads(pattern, i)})")
    pieces += [f"(?P<{part}>)" for part in sorted(absent)]
    return re.compile("".join(pieces), re.ASCII)


def is_number(token: str) -> bool:
    """Whether a token of a pattern reads digits."""
    return token in DIRECTIVES and token not in _NAMES


def touches(found: tuple[str, ...], i: int) -> tuple[bool, bool]:
    """Whether the i-th token of a pattern is a number with another one right before it, and right behind it."""
    before, behind = i > 0 and is_number(found[i - 1]), i + 1 < len(found) and is_number(found[i + 1])
    return (before, behind) if is_number(found[i]) else (False, False)


def _reads(pattern: str, i: int) -> str:
    """What the i-th token of a pattern reads, which depends on whether it touches another number."""
    found = tokens(pattern)
    directive = DIRECTIVES[found[i]]
    before, behind = touches(found, i)
    if (before or behind) and directive.reads_tight:
        return directive.reads_tight
    if before:  # only the first number of a run may be of any width
        raise ValueError(f"'{pattern}' is no date format: {found[i]} needs a separator in front of it")
    return directive.reads


@lru_cache(maxsize=256)
def reader(pattern: str) -> tuple[Callable[[str], Match | None], Callable[[Match], float]]:
    """How cells of a pattern are read: the function that matches a whole cell, and the seconds of a match.

    The second function raises ValueError where the parts of the match are no date, such as 31 February.
    """
    if pattern in EPOCHS:
        shift = EPOCHS[pattern]
        return _EPOCH.fullmatch, lambda match: _epoch_seconds(match, shift)
    return expression(pattern).fullmatch, _seconds


def _epoch_seconds(match: Match, shift: int) -> float:
    whole, fraction = match.groups()
    fraction = fraction or ""
    seconds: float = int(whole + fraction) / 10 ** (shift + len(fraction))  # integers divide to the nearest float
    if not EARLIEST <= seconds < LATEST:
        raise ValueError("outside 1900 to 2199")
    return seconds


def _seconds(match: Match) -> float:
    year, month, day, weekday, hour, minute, second, fraction, half = match.group(*PARTS)
    whole = _midnight(year, month, day, weekday)
    if hour:
        whole += _hours(hour, half) * 3600
        if minute:
            whole += int(minute) * 60
            if second:
                whole += int(second)
                if fraction:  # integers divide to the nearest float
                    scale: int = 10 ** len(fraction)
                    return (whole * scale + int(fraction)) / scale
    return float(whole)


@lru_cache(maxsize=1 << 16)
def _midnight(year: str, month: str, day: str, weekday: str) -> int:
    """Seconds from 1970 to the start of a day; 0 for a time without a date, the first of a month without a day."""
    if not year:
        return 0
    number = int(year)
    if len(year) == 2:
        number += 1900 if number >= PIVOT else 2000
    found = date(number, month_number(month), int(day or 1))
    if weekday and WEEKDAYS[found.weekday()][:3] != weekday[:3].title():
        raise ValueError("another weekday")
    return (found.toordinal() - EPOCH_DAY) * DAY


@lru_cache(maxsize=512)
def _hours(hour: str, half: str) -> int:
    return int(hour) % 12 + 12 * (half[0] in "pP") if half else int(hour)


def month_number(text: str) -> int:
    """The month of two digits or of an English name."""
    if text.isdigit():
        return int(text)
    return [name[:3] for name in MONTHS].index(text[:3].title()) + 1

"""Finds how the dates of a column are written, or that its cells are no dates.

Layouts of dates and times are put together to the patterns that a few cells may have; these patterns then have to read
nearly all cells of the column. A pattern is never right for being read first: where day and month can change places,
components above 12 decide, then the order of rows, then another column of the table; else both readings are kept.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import islice, pairwise

from anomvae.model.date_format import DateFormat
from anomvae.model.date_patterns import (
    DAY,
    DIRECTIVES,
    EPOCH_DAY,
    EPOCHS,
    ISO,
    ZONE,
    expression,
    has,
    is_all_digits,
    tokens,
)
from anomvae.model.date_spelling import with_spelling

NEARLY_ALL = 0.9  # share of the cells that are dates in a column of dates
SAMPLE = 500  # distinct cells that patterns are found with
SLACK = 0.1  # by so much the share may be smaller in the sample
SHAPES = 60  # shapes of cells, such as 00/00/0000, that patterns are made for
LONGEST = 80  # characters of a date
ROWS = 20_000  # rows whose order is looked at
CLEAR = 3.0  # one reading is right where the steps of the other add up to so many times as much
VERY_CLEAR = 10.0  # the same, for few dates
FEW_DATES = 8
FEW_MOVES = 5  # so few rows are in order by chance
CLOSE = 0.01  # a share of cells so much smaller may be due to a few strange ones
FEWEST_NUMBERS = 5  # distinct numbers that show that a column is dates and no code
YEARS = (1900, 2100)  # of whole numbers that are dates
EPOCH_YEARS = (1990, 2060)
EPOCH_SPAN = 60 * 365.25 * DAY
EPOCH_SHARE = 0.99  # of the cells, as numbers that are measures lie anywhere

_SEPARATORS = "/.-"
_DATES = (
    *(f"%Y{s}%m{s}%d" for s in _SEPARATORS),
    *(f"%d{s}%m{s}%Y" for s in _SEPARATORS),
    *(f"%m{s}%d{s}%Y" for s in _SEPARATORS),
    *(f"%d{s}%m{s}%y" for s in _SEPARATORS),
    *(f"%m{s}%d{s}%y" for s in _SEPARATORS),
    *(f"%y{s}%m{s}%d" for s in _SEPARATORS),
    *(f"%d{s}%b{s}%{y}" for s in (" ", "-", "/", ".", "") for y in "Yy"),
    *(f"%b{s}%d{s}%Y" for s in " -/"),
    *("%Y %m %d", "%d %m %Y", "%m %d %Y", "%Y年%m月%d日"),
    *("%d %b, %Y", "%d. %b %Y", "%b %d, %Y", "%b %e %Y", "%b %e, %Y", "%e %b %Y", "%Y-%b-%d", "%Y %b %d"),
)
_COMPACT_DATES = ("%Y%m%d", "%d%m%Y", "%m%d%Y", "%-d%m%Y", "%-m%d%Y")
_MONTHS = ("%Y-%m", "%Y/%m", "%m/%Y", "%b %Y", "%b-%Y", "%Y %b", "%Y-%b")
_CLOCKS = (
    *("%H:%M", "%H:%M:%S", "%H:%M:%S.%f"),
    *(f"%I{rest}{gap}%p" for rest in (":%M", ":%M:%S", ":%M:%S.%f", "") for gap in ("", " ", "\u202f", "\u00a0")),
)
_CLOCKS_BESIDE_DATES = (
    *_CLOCKS,
    *("%H.%M", "%H.%M.%S", "%H.%M.%S.%f", "%H%M", "%H%M%S", "%H%M%S.%f"),
    *("%I.%M %p", "%I.%M.%S %p", "%I.%M.%S.%f %p", "%l:%M%p", "%l:%M %p", "%l:%M:%S%p", "%l:%M:%S %p"),
)
_COMPACT_CLOCKS = ("%H", "%H%M", "%H%M%S", "%H%M%S%3f", "%H%M%S%f")
_JOINS = (" ", "T", ", ", "  ", " at ", " - ", ":", "-", "_")
_WHOLE = (  # what is put together in no other way
    *(f"%b {day} %H:%M:%S{zone} %Y" for day in ("%d", "%e") for zone in ("", "%z")),
    *(f"%Y%m%d{rest}" for rest in (*_COMPACT_CLOCKS, ".0")),
)

_HAS_DIGIT = re.compile("[0-9]").search
_ZONE = re.compile(ZONE, re.ASCII).fullmatch
_WEEKDAY = re.compile(f"{DIRECTIVES['%a'].reads}(,? +)", re.ASCII).match
_DURATION = re.compile(r"(?:2[4-9]|[3-9][0-9]|[1-9][0-9]{2,}):[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]+)?)?").fullmatch
_ROUND_BASE = re.compile("[12]00[0-9]{7}").fullmatch  # numbers that were given out from 1000000000 on

Found = tuple[tuple[DateFormat, ...], tuple[str, ...]]


def find_date_formats(counts: Mapping[str, int], texts_in_order: Sequence[str]) -> Found | None:
    """The formats under which nearly all cells of a column are dates.

    Args:
        counts: distinct cells, and how often each occurs, without gaps.
        texts_in_order: the cells in the order of rows.

    Returns:
        The formats, and the cells that are no date in any of them; None where the cells are no dates. There is more
        than one format only where the order of day and month stays open: both then, the likelier first.
    """
    shares = {}
    for pattern in _candidates(counts):
        values = _values(pattern, counts)
        share = _share(values, counts)
        if share >= NEARLY_ALL and _plausible(pattern, values, counts, texts_in_order):
            shares[pattern] = share
    if not shares:
        return None
    best = max(shares, key=shares.__getitem__)
    rivals = {_unflagged(p): p for p in shares if shares[p] > shares[best] - CLOSE and _are_rivals(p, best)}
    forms = {with_spelling(DateFormat(pattern=p), counts): shares[p] for p in (best, *rivals.values())}
    formats = settle_order(tuple(forms), texts_in_order)
    # Components above 12 decide where the order of rows does not.
    formats = tuple(form for form in formats if forms[form] == max(map(forms.__getitem__, formats)))
    if forms[formats[0]] == 1:
        return formats, ()
    return formats, tuple(text for text in counts if all(form.seconds(text) is None for form in formats))


def settle_order(
    formats: Sequence[DateFormat], texts_in_order: Sequence[str], prefer: DateFormat | None = None
) -> tuple[DateFormat, ...]:
    """Which of several orders of day, month and year is the right one.

    Under the right reading neighbouring rows are near each other, or rows never fall; under a wrong one they jump.

    Args:
        formats: the same format in several orders.
        texts_in_order: the cells in the order of rows.
        prefer: the format of another column of the table whose order is known.

    Returns:
        The right format alone; or those that stay open, the likelier first.
    """
    if len(formats) < 2:
        return tuple(formats)
    rows = [[form.seconds(text) for form in formats] for text in texts_in_order[:ROWS]]
    readings = [Reading(list(values)) for values in zip(*(row for row in rows if None not in row), strict=True)]
    for form, reading in zip(formats, readings, strict=False):
        if all(other is reading or reading.beats(other) for other in readings):
            return (form,)
    if prefer:
        same = [form for form in formats if _mark(form) == _mark(prefer) and _order(form) == _order(prefer)]
        if same:
            return tuple(same)
    # A year of two digits in front is rare: it needs proof.
    likely = [form for form in formats if _order(form)[0] != "year"] or list(formats)
    first = "month" if has(likely[0].pattern, "half") else "day"
    return tuple(sorted(likely, key=lambda form: _order(form)[0] != first))


class Reading:
    """The values of a column in the order of rows, under one format.

    Args:
        values: seconds (n,).
    """

    def __init__(self, values: list[float]) -> None:
        steps = [b - a for a, b in pairwise(values)]
        self.moves = sum(step != 0 for step in steps)
        self.monotone = all(step >= 0 for step in steps) or all(step <= 0 for step in steps)
        self.variation = sum(map(abs, steps))
        self.distinct = set(values)

    @property
    def monthly(self) -> bool:
        """Whether all values are the first of a month, as of a report that is made every month."""
        return all(_is_first_of_month(value) for value in self.distinct)

    def beats(self, other: "Reading") -> bool:
        """Whether this is clearly the right reading, and the other is not."""
        if self.moves >= FEW_MOVES and self.monotone != other.monotone:
            return self.monotone
        clear = CLEAR if len(self.distinct) >= FEW_DATES else VERY_CLEAR
        return self.variation * clear <= other.variation and len(self.distinct) > 2 and not other.monthly


def _is_first_of_month(seconds: float) -> bool:
    return seconds % DAY == 0 and date.fromordinal(EPOCH_DAY + int(seconds // DAY)).day == 1


def _order(form: DateFormat) -> tuple[str, ...]:
    """Year, month and day in the order in which they are written."""
    parts = [DIRECTIVES[token].part for token in tokens(form.pattern) if token in DIRECTIVES]
    return tuple(part for part in parts if part in ("year", "month", "day"))


def _mark(form: DateFormat) -> str:
    """What stands between day, month and year."""
    if form.pattern in (ISO, *EPOCHS):
        return form.pattern
    dated = {token for token, directive in DIRECTIVES.items() if directive.part in ("year", "month", "day")}
    return next((token for before, token in pairwise(tokens(form.pattern)) if before in dated), "")


def _unflagged(pattern: str) -> str:
    """A pattern without the flags of padding."""
    return pattern.replace("%-", "%")


def _are_rivals(pattern: str, best: str) -> bool:
    """Whether two patterns differ in the order of day, month and year alone."""
    if {pattern, best} & {ISO, *EPOCHS} or _unflagged(pattern) == _unflagged(best):
        return False
    return sorted(tokens(_unflagged(pattern))) == sorted(tokens(_unflagged(best)))


def _candidates(counts: Mapping[str, int]) -> list[str]:
    """Patterns that most of some cells have, those that were found first in front."""
    sample = list(islice(counts, 0, None, max(1, len(counts) // SAMPLE)))
    shapes: dict[str, str] = {}
    for text in sample:
        if len(text) <= LONGEST and _HAS_DIGIT(text):
            shapes.setdefault(re.sub("[0-9]", "0", text), text)
    found = dict.fromkeys(pattern for text in islice(shapes.values(), SHAPES) for pattern in _patterns(text))
    weights = {text: counts[text] for text in sample}
    return [pattern for pattern in found if _share(_values(pattern, weights), weights) >= NEARLY_ALL - SLACK]


def _share(texts: Iterable[str], counts: Mapping[str, int]) -> float:
    """The share of the cells that these texts are."""
    return sum(counts[text] for text in texts) / max(1, sum(counts.values()))


def _values(pattern: str, texts: Iterable[str]) -> dict[str, float]:
    """The cells that are dates of a pattern, and their seconds."""
    read = DateFormat(pattern=pattern).seconds
    return {text: seconds for text in texts if (seconds := read(text)) is not None}


def _patterns(text: str) -> Iterator[str]:
    """All patterns that one cell may have, the simplest first."""
    if expression(ISO).fullmatch(text):
        yield ISO
    yield from (pattern for pattern in (*_WHOLE, *_MONTHS) if expression(pattern).fullmatch(text))
    yield from _dated(text)
    for clock, behind in _beginnings(text, _CLOCKS):
        if not behind:  # a zone is not looked for: 08:00-12:00 are two times
            yield clock
        join = " " if behind.startswith(" ") else ", "
        rest = behind.removeprefix(join)
        yield from (clock + join + date for date in _DATES if rest != behind and expression(date).fullmatch(rest))
    if weekday := _WEEKDAY(text):
        rest = text[weekday.end() :]
        dates = (*_dated(rest), *(pattern for pattern in _WHOLE if expression(pattern).fullmatch(rest)))
        yield from (f"%a{weekday[1]}{pattern}" for pattern in dates)
    if text.startswith("[") and text.endswith("]"):
        yield from (f"[{pattern}]" for pattern in _dated(text[1:-1]))
    first, end = (_year_start(year) for year in EPOCH_YEARS)
    yield from (count for count in EPOCHS if first <= _values(count, [text]).get(text, -math.inf) < end)


def _dated(text: str) -> Iterator[str]:
    """The patterns of a cell that begins with a date."""
    for layout, behind in _beginnings(text, (*_DATES, *_COMPACT_DATES)):
        if not behind:
            yield layout
        for join in _JOINS:
            if behind.startswith(join):
                yield from (layout + join + clock for clock in _clocks(behind[len(join) :]))


def _clocks(text: str) -> Iterator[str]:
    """The patterns of a time of day behind a date, with or without a zone."""
    for clock, behind in _beginnings(text, _CLOCKS_BESIDE_DATES):
        if not behind:
            yield clock
        elif _ZONE(behind):
            yield clock + "%z"


def _beginnings(text: str, layouts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The layouts that a text begins with, and what stands behind each."""
    for layout in layouts:
        if match := expression(layout).match(text):
            yield layout, text[match.end() :]


def _plausible(
    pattern: str, values: Mapping[str, float], counts: Mapping[str, int], texts_in_order: Sequence[str]
) -> bool:
    """Whether cells that can be read as dates are dates, and not measures, codes or durations.

    Args:
        pattern: what reads them.
        values: the distinct cells that it reads, and their seconds.
        counts: all distinct cells, and how often each occurs.
        texts_in_order: the cells in the order of rows.
    """
    if pattern in EPOCHS:
        return _is_count_since_1970(values, counts, texts_in_order)
    if pattern == ISO:
        return True
    if not has(pattern, "year"):
        return _share(filter(_DURATION, counts), counts) <= CLOSE
    if "%H%M" in pattern and all(seconds % DAY < 3600 for seconds in values.values()):
        return False  # 20260301-0007 is the seventh of that day
    if not is_all_digits(pattern.removesuffix(".0")) and pattern not in _MONTHS:
        return True
    first, end = (_year_start(year) for year in YEARS)
    found = [text for text, seconds in values.items() if first <= seconds < end]
    enough = len(found) >= FEWEST_NUMBERS or pattern in _MONTHS
    return enough and _share(found, counts) >= NEARLY_ALL


def _is_count_since_1970(values: Mapping[str, float], counts: Mapping[str, int], texts_in_order: Sequence[str]) -> bool:
    """Whether numbers are counts since 1970: in our time, mostly distinct or in order, not numbered from 10^9.

    Args:
        values: the distinct cells that can be such counts, and their seconds.
        counts: all distinct cells, and how often each occurs.
        texts_in_order: the cells in the order of rows.
    """
    first, end = (_year_start(year) for year in EPOCH_YEARS)
    found = {text: value for text, value in values.items() if first <= value < end}
    if len(found) < FEWEST_NUMBERS or _share(found, counts) < EPOCH_SHARE:
        return False
    if max(found.values()) - min(found.values()) > EPOCH_SPAN or all(map(_ROUND_BASE, found)):
        return False
    in_order = [found[text] for text in texts_in_order[:ROWS] if text in found]
    return len(found) > sum(counts.values()) / 2 or Reading(in_order).monotone


def _year_start(year: int) -> int:
    """Seconds from 1970 to the start of a year."""
    return (date(year, 1, 1).toordinal() - EPOCH_DAY) * DAY

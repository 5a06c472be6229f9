"""How the numbers of one column are written: found from its training cells, read strictly, written back the same.

A cell is a number with an optional sign and an optional affix on either side: a currency, a percent sign, a unit.
`find_number_format` takes the marks, the affix and the way of negatives from the cells of a column. From then on
nothing is guessed: a cell in other separators is an error, and another affix is reported with the value.

To look at many cells quickly, cells are reduced to shapes: every digit becomes a 9, except for a zero that begins a
number. Whether a cell can be read follows from its shape, and a column has few of them.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import msgspec

from anomvae.errors import DataError, UsageError
from anomvae.model.number_affix import (
    CURRENCY_SIGNS,
    LETTER,
    Affix,
    can_be_usual,
    go_together,
    is_currency,
    needs_measures,
    strangeness,
)
from anomvae.model.value_parsing import quoted

__all__ = ["Affix", "FormatFit", "Marks", "Negative", "NumberFormat", "find_number_format"]

Negative = Literal["minus", "unicode_minus", "parentheses", "trailing"]
Decimal = Literal[".", ","]

NEARLY_ALL = 0.9  # of the numbers of a column, so many have the usual affix, or one that goes with it
FEW = 0.005  # so few of the cells decide nothing
MOST_DIGITS = 12  # decimals that are written in full; beyond them as many as a value needs

_APOSTROPHES = "'\u2019"
_SPACES = " \u00a0\u202f\u2009"
_SPACE = f"[{_SPACES}]"
_AFFIX = rf"(?:{LETTER}|[{CURRENCY_SIGNS}%\u2030\u2031\u00b0\u2103\u2109])"
# The dot behind a letter belongs to an abbreviation ("Rs.500"); behind a sign it begins the number ("$.50").
_PREFIX = rf"({_AFFIX}(?:[ ./]?{_AFFIX}){{0,12}}+(?:(?<={LETTER})\.|/\.?)?{_SPACE}*+)?"
# A digit may end a unit, as in "m2", "m^3", "L-1"; a number may not follow it, as in "5 ft 3 in".
_SUFFIX = rf"({_SPACE}*+/?{_AFFIX}(?:[ ./*\u00b7^-]?{_AFFIX}|(?<={LETTER})\^?-?[1-4](?![0-9])){{0,12}}+\.?)?"
_SIGN = "(?:([+\u2212-]) ?)?"
_EXPONENT = rf"(?:[eE](?:[+-][0-9]++|[0-9]++(?!{LETTER})))?"  # 5E0x is a code, 5e-07m is not
_ANY_NUMBER = rf"(?=[.,]?[0-9])(?:[0-9.,]|[{_APOSTROPHES}{_SPACES}_](?=[0-9]))++{_EXPONENT}"

_PLAIN_CELL = r"[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?"
_plain_cell = re.compile(_PLAIN_CELL).fullmatch
_infinite = re.compile(r"[+-]?(?:inf|infinity)", re.IGNORECASE).fullmatch
_padded_whole = re.compile("0[0-9]+").fullmatch
_code_like = re.compile("[0-9]+[eE][0-9]+").fullmatch  # programs write 1e+05 and 1.0E5; 5E0 is mostly a code
_exponent_parts = re.compile(r"([0-9.,]+)[eE]([+-]?[0-9]+)").search
_may_overflow = re.compile("[eE][+-]?[0-9]{3}|.{200}").search
_later_zeros = re.compile(f"(?<=[0-9.,{_APOSTROPHES}])0")
_with_unit_digit = re.compile(rf"[0-9.,)\u2212-]{_SPACE}.*?{LETTER}\^?-?9").search
_first_letter = re.compile(LETTER).search
_ANY_DIGIT = str.maketrans("123456789", "999999999")

_SIGNS: Mapping[Negative, tuple[str, str]] = {
    "minus": ("-", ""),
    "unicode_minus": ("\u2212", ""),
    "parentheses": ("(", ")"),
    "trailing": ("", "-"),
}


class Marks(NamedTuple):
    """The decimal mark, the thousands mark, and whether thousands are grouped the Indian way (12,34,567)."""

    decimal: Decimal = "."
    thousands: str = ""
    indian: bool = False

    def bare(self, number: str) -> str:
        """An unsigned number that is written with these marks, as float() reads it."""
        for mark in _alike(self.thousands):
            number = number.replace(mark, "")
        return number.replace(",", ".") if self.decimal == "," else number


class NumberFormat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How the numbers of a column are written.

    `indian`: groups as in 12,34,567.50. `affix`: the usual one. `sign_first`: the sign, or the parentheses, stand
    outside of the affix, as in -$5.00. `digits`: the decimals that are written; None for as many as a value needs.
    `padded`: 2.50 rather than 2.5. `least_digits`: decimals that even whole numbers have where they are not padded: 1
    for 2.0 beside 2.25.
    """

    decimal: Decimal = "."
    thousands: str = ""
    indian: bool = False
    affix: Affix = Affix()
    negative: Negative = "minus"
    sign_first: bool = True
    digits: int | None = 0
    padded: bool = True
    least_digits: int = 0

    @property
    def plain(self) -> bool:
        """Whether float() alone reads these numbers."""
        return self.marks == Marks() and self.affix == Affix() and self.negative == "minus"

    @property
    def marks(self) -> Marks:
        """The separators."""
        return Marks(self.decimal, self.thousands, self.indian)

    def read(self, text: str) -> tuple[float, str]:
        """The number in a cell, and what is strange about its spelling.

        Args:
            text: the cell; not a gap.

        Returns:
            The value, and "" where the affix is the usual one; else the affix as a person names it, or "no EUR" where
            the usual one is absent.

        Raises:
            DataError: `not_a_number`, or `non_finite` for infinities and overflow.
        """
        text = text.strip(" ")
        if self.affix == Affix() and self.marks == Marks() and _plain_cell(text):
            return _finite(float(text), text), ""
        cell = _cell(_cell_pattern(self.marks)(text))
        if cell is None or cell.negative not in (None, "minus", self.negative):
            raise self._refusal(text)
        strange = strangeness(cell.affix, self.affix)
        if strange is None:
            raise self._refusal(text)
        value = _finite(float(self.marks.bare(cell.number)), text)
        return (-value if cell.negative else value), strange

    def read_column(self, texts: Sequence[str]) -> list[float] | None:
        """Read cells (n,) at once where all are finite numbers in the usual spelling; else None: use `read`."""
        lines = "\n".join(texts) + "\n"
        # A quoted cell may hold a line break of its own, and then there are more lines than cells.
        if not _usual_cells(self)(lines) or lines.count("\n") != len(texts):
            return None
        values = list(map(float, texts if self.plain else self._bare(lines).split("\n")[:-1]))
        return values if all(map(math.isfinite, values)) else None

    def _bare(self, lines: str) -> str:
        """Cells in the usual spelling, one a line, as float() reads them."""
        for affix in filter(None, self.affix):
            lines = lines.replace(affix, "")
        for written, plain in (("\u2212", "-"), ("(", "-"), (")", "")):
            lines = lines.replace(written, plain)
        return self.marks.bare(lines)

    def write(self, value: float) -> str:
        """A finite number as training wrote it."""
        if self.digits is None:
            number = repr(abs(value)) if self.least_digits else repr(abs(value)).removesuffix(".0")
        else:
            value = round(value, self.digits) + 0.0  # not -0.00
            number = self._unpadded(f"{abs(value):.{self.digits}f}")
        whole, _, rest = number.partition(".")
        if self.thousands and "e" not in number:
            whole = self.thousands.join(_groups(whole, 2 if self.indian else 3))
        return self._signed(f"{whole}{self.decimal}{rest}" if rest else whole, negative=value < 0)

    def write_column(self, values: Sequence[float]) -> list[str]:
        """Finite numbers (n,) as training wrote them."""
        if not self.plain or self.digits is None:
            return [self.write(value) for value in values]
        # One long format is faster than one for each number.
        texts = (f"%.{self.digits}f\n" * len(values) % tuple(values)).split("\n")[:-1]
        negative_zero = f"{-0.0:.{self.digits}f}"
        return [self._unpadded(text if text != negative_zero else text[1:]) for text in texts]

    def _unpadded(self, number: str) -> str:
        """The number without trailing zeros, where training had none."""
        if self.padded or not self.digits:
            return number
        whole, _, rest = number.partition(".")
        rest = rest.rstrip("0").ljust(self.least_digits, "0")
        return f"{whole}.{rest}" if rest else whole

    def _signed(self, number: str, *, negative: bool) -> str:
        """The number with its affix and its sign."""
        prefix, suffix = self.affix
        before, behind = _SIGNS[self.negative] if negative else ("", "")
        if self.sign_first:
            return f"{before}{prefix}{number}{suffix}{behind}"
        return f"{prefix}{before}{number}{behind}{suffix}"

    def _refusal(self, text: str) -> DataError:
        """Why a cell is no number in this format, with advice where it is one in another."""
        if _infinite(text):
            return DataError("non_finite", f"{quoted(text)} is not finite")
        cell = _cell(_cell_pattern(None)(text))
        if cell is None:
            return DataError("not_a_number", f"{quoted(text)} is not a number")
        why = "another unit or sign"
        if not _number_pattern(self.marks)(cell.number):
            possible = _possible_marks(set(cell.number), None, None)
            marks = next((marks for marks in possible if _number_pattern(marks)(cell.number)), self.marks)
            why = "other thousands separators?"
            if marks.decimal != self.decimal and marks.decimal in cell.number:
                why = f"a decimal {'comma' if marks.decimal == ',' else 'point'}?"
        return DataError("not_a_number", f"{quoted(text)} is not a number written like the training data's ({why})")


class FormatFit(msgspec.Struct, frozen=True, kw_only=True):
    """How well a format fits the texts of a column.

    `strange`: the texts that are no number in it. `affixes`: what `read` reports of the others, such as "USD" or
    "no EUR". `share`: of all cells, those that are numbers in it. `certain`: whether the texts, or the caller, decide
    the marks; 1,234 alone does not. `separators`: the decimal and the thousands mark that stand in the texts, "" where
    one does not.
    """

    strange: tuple[str, ...] = ()
    affixes: tuple[str, ...] = ()
    share: float = 1.0
    certain: bool = True
    separators: tuple[str, str] = ("", "")


def find_number_format(
    counts: Mapping[str, int], *, decimal: str | None = None, thousands: str | None = None
) -> tuple[NumberFormat, FormatFit] | None:
    """The format under which most texts are numbers.

    Args:
        counts: how many cells have each text; without gaps.
        decimal: the decimal mark, where it is known.
        thousands: the thousands mark, where it is known; "" for none.

    Returns:
        The format and how well it fits, which is for the caller to judge by `share`; None where fewer than half of the
        cells are numbers, where they are codes, or where their units differ.

    Raises:
        UsageError: where both marks are the same.
    """
    column = _Column(counts)
    if not column.mostly(column.numbers) or column.are_codes():
        return None
    marks, certain = _find_marks(column, decimal, thousands)
    matches = _number_pattern(marks)
    column.numbers = {shape: cell for shape, cell in column.numbers.items() if matches(cell.number)}
    affix = _find_affix(column) if column.mostly(column.numbers) else None
    if affix is None:
        return None
    found, fraction = _described(column, marks, affix)
    grouped = any(mark in cell.number for mark in _alike(marks.thousands) for cell in column.numbers.values())
    if _are_labels(column, affix, measured=fraction or grouped):
        return None
    separators = (found.decimal if fraction else "", found.thousands if grouped else "")
    return found, _fit_of(found, column, certain=certain, separators=separators)


class _Cell(NamedTuple):
    """The parts of a cell: `number` has no sign, and `sign_first` is None where the cell does not tell."""

    affix: Affix
    number: str
    negative: Negative | None
    sign_first: bool | None


class _Column:
    """The texts of a column, their shapes, and what the shapes are made of.

    Args:
        counts: how many cells have each text.
    """

    def __init__(self, counts: Mapping[str, int]) -> None:
        self.counts, self.texts, self.total = counts, list(counts), sum(counts.values())
        self.shapes = _shapes_of(self.texts)
        self.weights: Counter[str] = Counter()
        for shape, count in zip(self.shapes, counts.values(), strict=True):
            self.weights[shape] += count
        pattern = _cell_pattern(None)
        cells = {shape: _cell(pattern(shape)) for shape in self.weights}
        self.numbers = {shape: cell for shape, cell in cells.items() if cell and can_be_usual(cell.affix)}

    def weight(self, shapes: Iterable[str]) -> int:
        """How many cells have one of the shapes."""
        return sum(self.weights[shape] for shape in shapes)

    def mostly(self, shapes: Iterable[str]) -> bool:
        """Whether at least half of the cells, and at least one, have one of the shapes."""
        return 2 * self.weight(shapes) >= max(self.total, 1)

    def texts_with(self, condition: Callable[[str], object]) -> list[str]:
        """The texts that are numbers and whose shape meets a condition."""
        chosen = {shape for shape in self.numbers if condition(shape)}
        return [text for text, shape in zip(self.texts, self.shapes, strict=True) if shape in chosen]

    def are_codes(self) -> bool:
        """Whether the numbers are codes: padded with zeros (00123), or a digit, an E and a digit (5E0)."""
        padded = self.weight(shape for shape, cell in self.numbers.items() if _padded_whole(cell.number))
        codes = [shape for shape in self.numbers if _code_like(shape)]
        equally_long = len({len(shape) for shape in self.weights}) == 1 and all(map(str.isalnum, self.weights))
        return (
            padded > FEW * self.total or bool(equally_long and (padded or codes)) or bool(codes and self.mostly(codes))
        )


def _shapes_of(texts: Sequence[str]) -> list[str]:
    """The shapes of texts (n,)."""
    if not texts:
        return []
    lines = "\n".join(texts)
    if lines.count("\n") != len(texts) - 1:
        lines = "\n".join(text.replace("\n", "\0") for text in texts)
    shapes = _later_zeros.sub("9", lines.translate(_ANY_DIGIT)).split("\n")
    return [
        (_with_own_unit(shape, text) if len(shape) < 100 and _with_unit_digit(shape) else shape).strip(" ")
        for shape, text in zip(shapes, texts, strict=True)
    ]


def _with_own_unit(shape: str, text: str) -> str:
    """The shape with the digits of its unit, as in m2: all behind the first letter stays as it is in the text."""
    letter = _first_letter(shape)
    return shape[: letter.start()] + text[letter.start() :] if letter else shape


def _find_marks(column: _Column, decimal: str | None, thousands: str | None) -> tuple[Marks, bool]:
    """The marks with which most cells are numbers, and whether no others fit as well.

    Where only a few cells decide between two readings, and the others have another value in each, the likelier marks
    are taken: a lone point is decimal, and a lone comma separates thousands.
    """
    weights: Counter[str] = Counter()
    for shape, cell in column.numbers.items():
        weights[cell.number] += column.weights[shape]
    possible = _possible_marks(set("".join(weights)), decimal, thousands)
    read = {marks: set(filter(_number_pattern(marks), weights)) for marks in possible}
    scores = {marks: sum(weights[number] for number in numbers) for marks, numbers in read.items()}
    most = max(possible, key=lambda marks: scores[marks])
    rivals = [
        marks
        for marks in possible
        if scores[marks] >= scores[most] - FEW * column.total
        and any(marks.bare(number) != most.bare(number) for number in read[marks] & read[most])
    ]
    contradicted = any(scores[marks] == scores[most] and read[marks] != read[most] for marks in possible)
    return min([most, *rivals], key=possible.index), not rivals and not contradicted


def _possible_marks(seen: set[str], decimal: str | None, thousands: str | None) -> list[Marks]:
    """The marks that are worth trying, the likelier first."""
    decimals: tuple[Decimal, ...] = (".", ",")
    groups = ["", *(mark for mark in ",.' " if seen & set(_alike(mark)))]
    possible = [
        Marks(mark, group, indian)
        for mark in decimals
        for group in (groups if thousands is None else [thousands])
        for indian in (False, True)
        if mark != group and decimal in (None, mark) and (group == "," or not indian)
    ]
    if not possible:
        raise UsageError(f"no numbers have {decimal!r} as the decimal mark and {thousands!r} between thousands.")
    return possible


def _described(column: _Column, marks: Marks, affix: Affix) -> tuple[NumberFormat, bool]:
    """The format with these marks and this affix, and whether any number has decimals."""
    decimals = {_decimals(cell.number, marks) for cell in column.numbers.values() if not _exponent_parts(cell.number)}
    digits, padded = _find_digits(column, marks, decimals), len(decimals) <= 1 or _has_padding(column, marks)
    negative, sign_first = _find_negative(column, affix)
    found = NumberFormat(
        decimal=marks.decimal,
        thousands=_commonest_of(_alike(marks.thousands), column) if marks.thousands else "",
        indian=marks.indian,
        affix=affix,
        negative=negative,
        sign_first=sign_first,
        digits=digits,
        padded=padded,
        least_digits=0 if padded and digits is not None else min(1, *(decimals or {0})),
    )
    return found, any(decimals)


def _find_affix(column: _Column) -> Affix | None:
    """The usual affix; None where too many cells have one that does not go with it."""
    names: Counter[tuple[str, str]] = Counter()
    spellings: Counter[Affix] = Counter()
    for shape, cell in column.numbers.items():
        names[cell.affix.names] += column.weights[shape]
        spellings[cell.affix] += column.weights[shape]
    usual = names.most_common(1)[0][0]
    alike = sum(count for other, count in names.items() if go_together(other, usual))
    if alike < NEARLY_ALL * names.total():
        return None
    return next(affix for affix, _ in spellings.most_common() if affix.names == usual)


def _find_negative(column: _Column, affix: Affix) -> tuple[Negative, bool]:
    """How negatives are written, and whether their sign stands outside of the affix.

    A hyphen is always read. So another way is the one where more than a few negatives have it; and parentheses are
    that of currencies without any negative.
    """
    ways: Counter[Negative] = Counter()
    sides: Counter[tuple[Negative, bool]] = Counter()
    for shape, cell in column.numbers.items():
        if cell.negative:
            ways[cell.negative] += column.weights[shape]
            if cell.sign_first is not None:
                sides[cell.negative, cell.sign_first] += column.weights[shape]
    if not ways:
        return ("parentheses" if any(map(is_currency, affix.names)) else "minus"), True
    least = (1 - NEARLY_ALL) * ways.total()
    special = Counter({way: n for way, n in ways.items() if way != "minus" and n >= least})
    way = (special or ways).most_common(1)[0][0]
    return way, sides[way, True] >= sides[way, False]


def _are_labels(column: _Column, affix: Affix, *, measured: bool) -> bool:
    """Whether the numbers are no measures: `Store 12`, `SEK-1001`, or all in parentheses, as standard errors are.

    Args:
        column: the column.
        affix: its usual affix.
        measured: whether any number has decimals or groups, as measures do.
    """
    ways = {cell.negative for cell in column.numbers.values()}
    currency = any(map(is_currency, affix.names))
    coded = affix.prefix.isalpha() and ways == {"minus"}
    return ((needs_measures(affix) or coded) and not measured) or (ways == {"parentheses"} and not currency)


def _find_digits(column: _Column, marks: Marks, decimals: set[int]) -> int | None:
    """Decimals to write; None where cells use exponents that these cannot express, or more than a float can hold."""
    most = max(decimals, default=0)
    if most > MOST_DIGITS:
        return None
    with_exponent = {shape for shape, cell in column.numbers.items() if _exponent_parts(cell.number)}
    if 2 * column.weight(with_exponent) > column.weight(column.numbers):
        return None
    needed = (_needed(text, marks) for text in column.texts_with(with_exponent.__contains__))
    return most if max(needed, default=0) <= most else None


def _needed(text: str, marks: Marks) -> int:
    """Decimals that a number with an exponent needs without it: 5 for 1e-05."""
    parts = _exponent_parts(text)
    return _decimals(parts[1], marks) - int(parts[2]) if parts else 0


def _decimals(number: str, marks: Marks) -> int:
    """Digits behind the decimal mark."""
    return len(number.partition(marks.decimal)[2])


def _has_padding(column: _Column, marks: Marks) -> bool:
    """Whether some last decimal is a 0, as in 2.50; a lone one, as in 2.0, shows nothing."""
    zero = re.compile(rf"{re.escape(marks.decimal)}[0-9]+0(?![0-9])").search
    return any(map(zero, column.texts_with(lambda shape: marks.decimal in shape)))


def _fit_of(found: NumberFormat, column: _Column, *, certain: bool, separators: tuple[str, str]) -> FormatFit:
    """What a format makes of all texts; it is asked about shapes, and about texts where the shape may overflow."""
    outcomes = {shape: _outcome(found, shape) for shape in column.weights if not _may_overflow(shape)}
    pairs = zip(column.texts, column.shapes, strict=True)
    by_text = [(text, outcomes[shape] if shape in outcomes else _outcome(found, text)) for text, shape in pairs]
    strange = tuple(text for text, outcome in by_text if outcome is None)
    return FormatFit(
        strange=strange,
        affixes=tuple(dict.fromkeys(outcome for _, outcome in by_text if outcome)),
        share=1 - sum(column.counts[text] for text in strange) / column.total,
        certain=certain,
        separators=separators,
    )


def _outcome(found: NumberFormat, text: str) -> str | None:
    """What is strange about a text, "" for nothing; None where it is no number."""
    try:
        return found.read(text)[1]
    except DataError:
        return None


@lru_cache(maxsize=256)
def _number_pattern(marks: Marks) -> Callable[[str], re.Match[str] | None]:
    return re.compile(_number(marks)).fullmatch


@lru_cache(maxsize=256)
def _cell_pattern(marks: Marks | None) -> Callable[[str], re.Match[str] | None]:
    """What matches a whole cell whose number has these marks, or any."""
    number = _number(marks) if marks else _ANY_NUMBER
    minus = "([\u2212-]?)"
    return re.compile(
        rf"{_SIGN}(\(?){_PREFIX}{_SIGN}(\(?)({number})(\)?){minus}{_SUFFIX}(\)?){minus}", re.DOTALL
    ).fullmatch


@lru_cache(maxsize=256)
def _usual_cells(numbers: NumberFormat) -> Callable[[str], re.Match[str] | None]:
    """What matches cells in the usual spelling, one a line; a minus behind the number is left to `read`."""
    if numbers.plain:
        return re.compile(rf"(?:{_PLAIN_CELL}\n)*+").fullmatch
    prefix, suffix = map(re.escape, numbers.affix)
    number = f"(?:{_number(numbers.marks)})"
    sign = "[+\u2212-]" if numbers.negative == "unicode_minus" else "[+-]"
    ways = [f"{sign}?{prefix}{number}{suffix}", f"{prefix}{sign}{number}{suffix}"]
    if numbers.negative == "parentheses":
        ways += [rf"\({prefix}{number}{suffix}\)", rf"{prefix}\({number}\){suffix}"]
    return re.compile(f"(?:(?:{'|'.join(ways)})\n)*+").fullmatch


def _number(marks: Marks) -> str:
    """A pattern of unsigned numbers; groups must be complete, and do not begin with a 0: 0,123 has a decimal comma."""
    mark = re.escape(marks.decimal)
    fraction = f"(?:{mark}[0-9]*+)?"
    plain = f"(?:[0-9]++{fraction}|{mark}[0-9]++){_EXPONENT}"
    if not marks.thousands:
        return plain
    group = f"[{re.escape(_alike(marks.thousands))}]"
    if marks.indian:
        return f"[1-9][0-9]?(?:{group}[0-9]{{2}})*{group}[0-9]{{3}}(?![0-9]){fraction}|{plain}"
    return f"[1-9][0-9]{{0,2}}(?:{group}[0-9]{{3}})++(?![0-9]){fraction}|{plain}"


def _alike(mark: str) -> str:
    """The marks that mean the same: both apostrophes, all spaces."""
    return next((alike for alike in (_APOSTROPHES, _SPACES) if mark and mark in alike), mark)


def _commonest_of(marks: str, column: _Column) -> str:
    """The mark among these that stands in most cells."""
    weights = [column.weight(shape for shape, cell in column.numbers.items() if m in cell.number) for m in marks]
    return marks[weights.index(max(weights))]


def _groups(whole: str, size: int) -> list[str]:
    """The digits of a whole number in groups: the last of three, those before it of `size`."""
    head, last = whole[:-3], whole[-3:]
    first = len(head) % size
    return [
        group for group in (head[:first], *(head[i : i + size] for i in range(first, len(head), size)), last) if group
    ]


def _cell(match: re.Match[str] | None) -> _Cell | None:
    """The parts of a cell; None where it is no number, or has more than one sign."""
    if match is None:
        return None
    before, opened, prefix, after, opened_late, number, closed, minus, suffix, closed_late, minus_late = (
        part or "" for part in match.groups()
    )
    signs = before + after + opened + opened_late + minus + minus_late
    if len(signs) > 1 or len(closed + closed_late) != signs.count("("):
        return None
    affix = Affix(prefix, suffix)
    if signs in ("", "+"):
        return _Cell(affix, number, None, None)
    if signs == "(":
        return _Cell(affix, number, "parentheses", bool(closed_late if suffix else opened) if any(affix) else None)
    if minus or minus_late:
        return _Cell(affix, number, "trailing", bool(minus_late) if suffix else None)
    return _Cell(affix, number, "minus" if signs == "-" else "unicode_minus", bool(before) if prefix else None)


def _finite(value: float, text: str) -> float:
    if math.isinf(value):
        raise DataError("non_finite", f"{quoted(text)} is too large for a number")
    return value

"""The spelling of a column's dates, taken from its cells: padding, names, fractions, AM and PM, time zone."""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice

from msgspec.structs import replace

from anomvae.model.date_format import DateFormat
from anomvae.model.date_patterns import DIRECTIVES, EPOCHS, ISO, Match, reader, tokens, touches

LOOKED_AT = 2000  # distinct cells that are looked at
FRACTIONS = 0.1  # share of the cells from which on all dates are written with a fraction
_PARTS = {"%d": "day", "%m": "month", "%H": "hour", "%I": "hour"}  # numbers that may be padded

Matches = list[tuple[Match, int]]  # and how often each of their cells occurs


def with_spelling(form: DateFormat, counts: Mapping[str, int]) -> DateFormat:
    """The same format in the commonest spelling of these cells.

    Args:
        form: the format.
        counts: distinct cells, and how often each occurs; those that are no date of this format are passed over.
    """
    match_whole, _ = reader(form.pattern)
    seen = [(match, n) for text, n in islice(counts.items(), LOOKED_AT) if (match := match_whole(text))]
    if not seen:
        return form
    if form.pattern in EPOCHS:
        digits = int(_commonest((str(len(match[2] or "")), n) for match, n in seen) or 0)
        return replace(form, written=f".{_digits(digits)}" if digits else "")
    zone = _commonest((match["zone"] or "", n) for match, n in seen)
    if form.pattern == ISO:
        return replace(form, zone=zone, written=_iso_shape(seen))
    return replace(
        form,
        pattern=_respelt(tokens(form.pattern), seen),
        zone=zone,
        half=_commonest((match["half"].replace("P", "A").replace("p", "a"), n) for match, n in seen) or "AM",
        case=_commonest((_case(name), n) for part in ("month", "weekday") for name, n in _names(part, seen)),
    )


def _commonest(found: Iterable[tuple[str, int]]) -> str:
    """What occurs most often, the first of several; "" where there is nothing."""
    votes: Counter[str] = Counter()
    for item, n in found:
        votes[item] += n
    return votes.most_common(1)[0][0] if votes else ""


def _iso_shape(seen: Matches) -> str:
    """The pattern that most ISO dates are written in; with the longest fraction, unless fractions are rare."""
    shape = _commonest((_iso_date(match), n) for match, n in seen)
    fractions = [(_fraction(match), n) for match, n in seen if match["fraction"]]
    if "%S" in shape and sum(n for _, n in fractions) >= FRACTIONS * sum(n for _, n in seen):
        sign = _commonest((sign, n) for (sign, _), n in fractions)
        shape += sign + _digits(max(len(match["fraction"] or "") for match, _ in seen))
    return shape


def _iso_date(match: Match) -> str:
    """The pattern of one ISO date, up to the seconds."""
    between = match.string[len("2026-03-01")] if match["hour"] else ""
    return "%Y-%m-%d" + (f"{between}%H:%M" if between else "") + (":%S" if match["second"] else "")


def _fraction(match: Match) -> tuple[str, str]:
    """The sign before a fraction, and the directive of its digits; both empty where there is no fraction."""
    if not match["fraction"]:
        return "", ""
    sign = match.string[match.start("fraction") - 1]
    return sign if sign in ".," else "", _digits(len(match["fraction"]))


def _digits(n: int) -> str:
    """The directive of a fraction of n digits."""
    return "%f" if n == 6 else f"%{n}f"


def _names(part: str, seen: Matches) -> list[tuple[str, int]]:
    """The names of months or weekdays in these cells."""
    return [(match[part], n) for match, n in seen if match[part].isalpha()]


def _case(name: str) -> str:
    return "upper" if name.isupper() else "lower" if name.islower() else ""


def _respelt(found: tuple[str, ...], seen: Matches) -> str:
    """A pattern with the padding, names and fractions of these cells.

    Args:
        found: its tokens.
        seen: the matches of its cells.
    """
    votes = {part: _padding(part, seen) for part in dict.fromkeys(_PARTS.values())}
    pieces = list(found)
    for i, token in enumerate(found):
        padded = token.replace("-", "")
        if padded in _PARTS and not any(touches(found, i)):
            # Numbers from 10 on tell nothing of padding: they are taken to be written like the others.
            unpadded = (votes[_PARTS[padded]] or sum(votes.values())) < 0
            pieces[i] = padded.replace("%", "%-") if unpadded else padded
        elif token.lower() in ("%b", "%a"):
            pieces[i] = _name_directive(token, seen)
        elif token in DIRECTIVES and DIRECTIVES[token].part == "fraction":
            signs = [(_fraction(match), n) for match, n in seen if match["fraction"]]
            pieces[i] = _commonest((digits, n) for (_, digits), n in signs) or token
            if sign := _commonest((sign, n) for (sign, _), n in signs):
                pieces[i - 1] = pieces[i - 1][:-1] + sign
    return "".join(pieces)


def _padding(part: str, seen: Matches) -> int:
    """In how many more cells this number is padded, as in 03, than not, as in 3."""
    return sum(n * ((len(match[part]) == 2 and match[part][0] == "0") - (len(match[part]) == 1)) for match, n in seen)


def _name_directive(token: str, seen: Matches) -> str:
    """`%B` or `%b`, `%A` or `%a`: whether names are long in most cells; May, which is both, does not count."""
    names = _names(DIRECTIVES[token].part, seen)
    length = _commonest(("long" if len(name) > 4 else "short", n) for name, n in names if name.lower() != "may")
    return {"long": token.upper(), "short": token.lower(), "": token}[length]

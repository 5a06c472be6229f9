"""What the values of a label column mean: which are normal, which name a kind of anomaly, which say nothing.

Told by --normal, or understood where the values leave no doubt; never guessed from how often a value occurs.
"""

from collections.abc import Sequence

from anomvae.errors import UsageError
from anomvae.model.cells import NumberFormat, is_number, quoted

MOST = 1000  # different values of a column that labels anything
PAIRS = {"0": {"0", "1"}, "false": {"false", "true"}}  # a normal value, and all that may stand beside it
WORDS = ("normal", "ok")  # beside these, any other value names a kind of anomaly
ANOMALOUS = {"1", "true", "anomaly"}  # understood where no row is normal


class Labels:
    """The different values of a label column, in the order of their coming."""

    def __init__(self, column: str) -> None:
        self.column = column
        self.codes: dict[str, int] = {}

    def code(self, cells: Sequence[str]) -> list[int]:
        """The number of each cell's value.

        Raises:
            UsageError: there are so many different values that the column labels nothing.
        """
        coded = [self.codes.setdefault(cell.strip(), len(self.codes)) for cell in cells]
        if len(self.codes) > MOST:
            raise UsageError(f"column '{self.column}' has more than {MOST:,} different values; it is no label column.")
        return coded

    def normal(self, wanted: Sequence[str], numbers: NumberFormat) -> tuple[str, ...]:
        """The values that stand for normal rows.

        Args:
            wanted: of --normal; empty where they are to be understood.
            numbers: how numbers are written, so that 0.0 is 0.

        Raises:
            UsageError: no row has a value that is wanted, or the values cannot be understood.
        """
        if wanted:
            return self._told(wanted, numbers)
        spoken = {value: _plain(value, numbers).casefold() for value in self.codes}
        understood = _understood(set(spoken.values()))
        if understood is None:
            raise UsageError(
                f"column '{self.column}' has the values {self.listed()}; which are normal? Say --normal VALUE."
            )
        return tuple(value for value, word in spoken.items() if word == understood)

    def _told(self, wanted: Sequence[str], numbers: NumberFormat) -> tuple[str, ...]:
        named = {_plain(value, numbers) for value in wanted}
        found = tuple(value for value in self.codes if _plain(value, numbers) in named)
        if found:
            return found
        near = [value for value in self.codes if value.casefold() in {name.casefold() for name in named}]
        hint = f"did you mean {quoted(near[0])}?" if near else f"found: {self.listed()}."
        raise UsageError(f"no row of column '{self.column}' has a value of --normal; {hint}")

    def listed(self) -> str:
        """The first values, for a message."""
        shown = [quoted(value) if value else "(empty)" for value in list(self.codes)[:8]]
        return ", ".join(shown) + (f" and {len(self.codes) - 8} more" if len(self.codes) > 8 else "")


def _understood(words: set[str]) -> str | None:
    """The normal word of these, be it there or not; None where it cannot be told."""
    filled = words - {""}
    normal = filled & {*PAIRS, *WORDS}
    if len(normal) == 1:
        word = normal.pop()
        return word if filled <= PAIRS.get(word, filled) else None
    if normal:
        return None
    if "" in words:
        return "" if filled <= ANOMALOUS or not any(map(is_number, filled)) else None
    return "normal" if filled <= ANOMALOUS else None


def _plain(value: str, numbers: NumberFormat) -> str:
    text = numbers.plain(value)
    return str(float(text)).removesuffix(".0") if is_number(text) else value.strip()

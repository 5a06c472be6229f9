"""Which training rows count: `--where 'COL OP VALUE'`, `--label COL --normal VALUE`."""

from collections.abc import Callable, Sequence
from typing import Any

from anomvae.errors import UsageError
from anomvae.invalid import near
from anomvae.model.cells import NumberFormat, is_number
from anomvae.model.conditions import OPERATORS, Condition
from anomvae.settings import FitSettings


def conditions(settings: FitSettings) -> tuple[Condition, ...]:
    """Every condition as (column, operator, value).

    Raises:
        UsageError: a condition has no operator, or a label has no normal value.
    """
    if (settings.label is None) != (settings.normal is None):
        raise UsageError("--label COL and --normal VALUE go together.")
    label = () if settings.label is None else ((settings.label, "==", str(settings.normal)),)
    return (*map(parse, settings.where), *label)


def parse(text: str) -> Condition:
    """Split a condition at its first operator, both sides trimmed."""
    for at in range(len(text)):
        for sign in OPERATORS:
            if text.startswith(sign, at):
                column, value = text[:at].strip(), text[at + len(sign) :].strip()
                if column:
                    return column, sign, value.strip("'\"") if value[:1] in ("'", '"') else value
    raise UsageError(f"--where '{text}' is not 'COLUMN OP VALUE' (OP is one of {' '.join(OPERATORS)}).")


def selector(
    wanted: Sequence[Condition], names: Sequence[str], numbers: NumberFormat
) -> Callable[[Sequence[str]], bool]:
    """A test of whether a row of text cells meets all conditions.

    Raises:
        UsageError: a condition names a column that is not there.
    """
    for column, _, _ in wanted:
        if column not in names:
            raise UsageError(f"column '{column}' of --where or --label is not in the file{near(column, names)}")
    tests = [(names.index(column), OPERATORS[sign], value) for column, sign, value in wanted]

    def meets(row: Sequence[str]) -> bool:
        return all(_compare(row[at], test, value, numbers) for at, test, value in tests)

    return meets


def _compare(cell: str, test: Callable[[Any, Any], bool], value: str, numbers: NumberFormat) -> bool:
    left, right = numbers.plain(cell), numbers.plain(value)
    if is_number(left) and is_number(right):
        return test(float(left), float(right))
    return test(cell.strip(), value)


def spoken(wanted: Sequence[Condition]) -> str:
    """The conditions as a sentence, for people alone: a column or a value may have an `and` in it."""
    return " and ".join(" ".join(condition) for condition in wanted)

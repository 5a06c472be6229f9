"""Every sentence about data that a public record holds: codes and figures go in, the text for people comes out.

The program keeps and compares codes; a sentence is made here when a record is built, and no code reads it back.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

ReasonCode = Literal[
    "",  # nothing to say
    "dropped",
    "id",
    "label",
    "no_name",
    "ignored",
    "no_values",
    "running_number",
    "identifier",
    "free_text",
    "configured",
    "table_category",
    "dates",
    "open_dates",
    "constant",
    "counter",
]


class ColumnReason(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Why a column is left out, or what is worth knowing about one that is modelled.

    `value` is how `dates` are written, or the one value of a `constant` column ("" where no output may show it). An
    `identifier` and a `free_text` column have `distinct` different values in `rows` rows.
    """

    code: ReasonCode = ""
    value: str = ""
    distinct: int = 0
    rows: int = 0

    def __str__(self) -> str:
        """The sentence for people."""
        return column_reason(self)


REASONS: dict[ReasonCode, str] = {
    "": "",
    "dropped": "dropped (--drop)",
    "id": "identifier (--id)",
    "label": "the label",
    "no_name": "has no name",
    "ignored": "ignored by the configuration",
    "no_values": "no values",
    "running_number": "identifier: a running number",
    "identifier": "identifier: {distinct:,} different values in {rows:,} rows",
    "free_text": "free text: {distinct:,} different values in {rows:,} rows",
    "configured": "by configuration",
    "table_category": "a category of the table",
    "dates": "dates, {value}",
    "open_dates": "dates, {value}; no row tells day from month (state it as format = ...)",
    "constant": "constant{value}: a change is surprising",
    "counter": "never falls: the step from the row before is modelled",
}


def column_reason(reason: ColumnReason) -> str:
    """The reason of a column as a sentence, empty where there is nothing to say."""
    value = reason.value
    if reason.code == "constant" and value:
        value = f" '{shortened(value)}'"
    return REASONS[reason.code].format(value=value, distinct=reason.distinct, rows=reason.rows)


class Writing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How the cells of a column are written; a field that says nothing of its kind of column is empty.

    Numbers have `digits` decimals (None: as many as a number needs), a `decimal` mark, a `thousands` mark, a usual
    `prefix` and `suffix` with their spaces, and a way of negatives. `units` stand beside some numbers in place of the
    usual ones, `limits` are signs of limits of detection. Dates have `formats` (two while no row tells day from month),
    which `dates` writes as people do, and a `zone`. `gaps` are texts that stand for a missing value, and `sentinels`
    are those of them that would be values. `words` are those for true and false.
    """

    digits: int | None = 0
    decimal: str = ""
    thousands: str = ""
    prefix: str = ""
    suffix: str = ""
    negative: str = "minus"
    units: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    zone: str = ""
    gaps: tuple[str, ...] = ()
    sentinels: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


NEGATIVES = {
    "minus": "",
    "unicode_minus": "the minus U+2212",
    "parentheses": "negatives in parentheses",
    "trailing": "the minus behind",
}


def column_writing(writing: Writing) -> str:
    """How a column is written, as a text for people; empty where there is nothing to say."""
    parts = [*_numbers_written(writing), " or ".join(writing.dates)]
    parts.append(f"zone {writing.zone.strip()}" if writing.zone.strip() else "")
    parts.append(" and ".join(writing.words))
    parts += [
        f"{name} {_quoted(texts)}"
        for name, texts in (
            ("also", writing.units),
            ("limits", writing.limits),
            ("gaps", writing.gaps),
            ("taken as gaps", writing.sentinels),
        )
        if texts
    ]
    return "; ".join(filter(None, parts))


def _numbers_written(writing: Writing) -> list[str]:
    if not writing.decimal:
        return []
    decimals = {None: "decimals as needed", 0: "", 1: "1 decimal"}.get(writing.digits, f"{writing.digits} decimals")
    return [
        decimals,
        f"decimal {_quoted([writing.decimal])}" if writing.digits != 0 and writing.decimal != "." else "",
        f"thousands {_quoted([writing.thousands])}" if writing.thousands else "",
        f"{_quoted([writing.prefix])} before" if writing.prefix else "",
        f"{_quoted([writing.suffix])} behind" if writing.suffix else "",
        NEGATIVES[writing.negative],
    ]


def _quoted(texts: Iterable[str]) -> str:
    """Some texts, each in quotes."""
    return ", ".join(f"'{shortened(text)}'" for text in texts)


def selection(conditions: Iterable[tuple[str, str, str]]) -> str:
    """Conditions (column, operator, value) as one text; it cannot be read back, for a value may contain an `and`."""
    return " and ".join(" ".join(condition) for condition in conditions)


def not_in_training(columns: Sequence[str]) -> str:
    """Which columns of a file the training table did not have."""
    return f"not in training, ignored: {', '.join(columns[:5])}"


def shortened(text: str, limit: int = 40) -> str:
    """A cell, at most so many characters of it."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


WarningCode = Literal[
    "ctrl_z",
    "no_final_newline",
    "stray_bom",
    "trailing_delimiter",
    "delimiter_found",
    "preamble",
    "units_lines",
    "padding_columns",
    "repeated_header",
    "comment_lines",
    "header_only",
    "extra_columns",
    "unnamed_column",
    "unseen_category",
    "column_all_missing",
    "missing_value",
    "precision_loss",
    "counter_falls",
    "rejected_row",
    "sampled_rows",
    "posterior_collapse",
    "max_time",
    "alpha_estimated",
    "group_modelled",
    "empty_in_training",
    "new_decimals",
    "open_dates",
    "sentinels",
    "mixed_units",
    "rows_lost",
    "rows_refused",
]


class TableWarning(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was noticed about a table, or about a fit to it, and tolerated.

    `file` is where it was noticed, where several are read, and `line` the row, or the first of several skipped lines,
    whose text is the `value`. `column` is the column that it concerns, `columns` are several; `count` is how many
    cells, rows, lines or steps, and `total` of how many. A value that training never had is the `value`; `near` is a
    value that training had and that differs only in case, spaces or Unicode form. A row that could not be read has the
    reason code `error`, and its `message` for people.
    """

    code: WarningCode
    column: str = ""
    columns: tuple[str, ...] = ()
    value: str = ""
    near: str = ""
    count: int = 0
    total: int = 0
    file: str = ""
    line: int = 0
    error: str = ""
    message: str = ""
    alpha: float = 0.0


WARNINGS: dict[WarningCode, str] = {
    "ctrl_z": "a final Ctrl-Z was ignored",
    "no_final_newline": "the last line has no line end; the file may be cut off",
    "stray_bom": "a byte-order mark stands inside the file and was kept as text",
    "trailing_delimiter": "every row ends in an empty field, which was ignored",
    "delimiter_found": "columns are split by a {value}",
    "preamble": "lines before the header, skipped: {count}; the first, line {line}: '{value}'",
    "units_lines": "lines of units or kinds under the header, skipped: {count}; the first, line {line}: '{value}'",
    "padding_columns": "rows have {count} empty fields more than the header has names; these were left out",
    "repeated_header": "lines with the header again, skipped: {count}; the first: line {line}",
    "comment_lines": "comment lines, skipped: {count}; the first: line {line}",
    "header_only": "no rows under the header",
    "extra_columns": "{columns}",
    "unnamed_column": "a column without a name was ignored",
    "unseen_category": "column '{column}' has '{value}' {count} times{near}",
    "column_all_missing": "column '{column}' has no value in this file",
    "missing_value": "column '{column}' is empty {count} times, in training never",
    "precision_loss": "column '{column}' has {count} numbers above 2^53, scored as the nearest float",
    "counter_falls": "column '{column}' falls {count} times, in training it never does: are the rows in another order?",
    "rejected_row": "{message} ({error}); the row is left out",
    "sampled_rows": "{count:,} of {total:,} rows were kept, in blocks drawn at random (--max-rows)",
    "posterior_collapse": "no latent dimension is in use, the KL says nothing of a row; "
    "lower --beta (0.03 is the default), train longer (--steps), or give more rows",
    "max_time": "training was ended by --max-time after {count:,} of {total:,} steps; "
    "the threshold is calibrated for what was reached",
    "alpha_estimated": "{total:,} rows support alpha {supported:.3g} by counting; "
    "alpha {alpha:g} rests on a tail estimate, without a guarantee",
    "group_modelled": "column '{column}' names the groups and is modelled: each new group has a value of it that "
    "training never had; keep it out of the model with --id {column}",
    "empty_in_training": "column '{column}' was empty in training and is left out; here it has {count:,} values, "
    "such as '{value}'; fit again with rows that have it",
    "new_decimals": "column '{column}' has decimals {count:,} times, such as '{value}', in training whole numbers only",
    "open_dates": "column '{column}': no row tells day from month; both readings stay open ({value}); "
    "state the right one as format = ... below [schema.columns]",
    "sentinels": "column '{column}': {value} (cells: {count:,}) is far from all other values and taken as a gap; "
    "where it is a value, state the column without it in gaps = [...]",
    "mixed_units": "column '{column}': some numbers are written with {value} (cells: {count:,}); nothing is converted",
    "rows_lost": "{count:,} of {total:,} rows have cells that cannot be read and are left out, most of them in "
    "column '{column}'",
    "rows_refused": "{count:,} of {total:,} rows have cells that cannot be read, most of them in column '{column}'; "
    "fit refuses that: state what the column is ([schema.columns]), or leave it out (--drop)",
}


def table_warning(warning: TableWarning) -> str:
    """A warning as a sentence behind its code, and behind its place where that is one of several files."""
    near = f" (as '{warning.near}' but for case, spaces or Unicode form)" if warning.near else ""
    text = WARNINGS[warning.code].format(
        column=warning.column,
        columns=not_in_training(warning.columns),
        value=warning.value,
        near=near,
        count=warning.count,
        total=warning.total,
        error=warning.error,
        message=warning.message,
        alpha=warning.alpha,
        supported=1 / (warning.total + 1),
        line=warning.line,
    )
    place = f"{warning.file}:{warning.line}" if warning.line else warning.file
    return f"{place}: {warning.code}: {text}" if warning.file else f"{warning.code}: {text}"


VerdictCode = Literal["flags", "drift", "many_rejected", "more_rejected"]


class VerdictReason(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What raised the verdict of a file above ok.

    `flags`: `count` of `total` scored rows are flagged, and `usual` is the share that is expected. `many_rejected` and
    `more_rejected`: so many of all rows could not be read, and `usual` is the share of training; the first of them
    stands on `line`, with the reason code `error` and its `message` for people. `p` is the chance of as much in a
    normal file.
    """

    code: VerdictCode
    count: int = 0
    total: int = 0
    usual: float = 0.0
    p: float = 0.0
    line: int = 0
    error: str = ""
    message: str = ""

    @property
    def unreadable(self) -> bool:
        """Whether it is about rows that could not be read."""
        return self.code in ("many_rejected", "more_rejected")


_REJECTED = "{count:,} of {total:,} rows cannot be read{usual}; the first is line {line}: {message} ({error})"
VERDICTS: dict[VerdictCode, str] = {
    "flags": "{count:,} of {total:,} rows are flagged",
    "drift": "the rows are no longer distributed as training rows were",
    "many_rejected": _REJECTED,
    "more_rejected": _REJECTED,
}


def verdict_reason(reason: VerdictReason) -> str:
    """What raised a verdict, as a sentence."""
    return VERDICTS[reason.code].format(
        count=reason.count,
        total=reason.total,
        usual=f", in training {f'{100 * reason.usual:.2g} %' if reason.usual else 'none'}",
        line=reason.line,
        message=reason.message,
        error=reason.error,
    )


def rejection_sentences(reasons: Iterable[VerdictReason]) -> tuple[str, ...]:
    """The sentences of a verdict about rows that could not be read; none where these are too few to matter."""
    return tuple(verdict_reason(reason) for reason in reasons if reason.unreadable)

"""The configuration file that `schema` writes: how `fit` would read every column, for a person to change."""

from collections.abc import Iterator, Sequence

import msgspec

from anomvae.config import GOES_WITH, ColumnSettings, FitSettings, SchemaSettings, column_toml, keys_of, toml_value
from anomvae.model.column_writing import settings_of
from anomvae.model.schema import Column, Schema
from anomvae.model.stated_columns import decisive
from anomvae.records.columns import ColumnReport, misfits_text, noteworthy
from anomvae.records.sentences import column_writing

DIALECT = ("encoding", "delimiter", "skip_lines", "units_lines")  # keys of [fit] that are written whatever they are
HEAD = (
    "How `anomvae fit` reads the columns of these files, as `anomvae schema` found it. Change what is wrong, and",
    "fit with this file: `anomvae fit -c FILE`, or without -c where it is called anomvae.toml. What is not stated",
    "here is found from the cells again.",
    "",
    "Keys of a column:",
)


def configuration(
    files: Sequence[str],
    settings: FitSettings,
    chosen: SchemaSettings,
    schema: Schema,
    reports: Sequence[ColumnReport],
) -> str:
    """The text of the file, in TOML.

    Args:
        files: the training files, as the user named them.
        settings: how these are written, and which rows are meant.
        chosen: what the user states about columns.
        schema: what the columns are.
        reports: their records, with examples.
    """
    keys = [f"  {name}: {key.meaning}" for name, (_, key) in keys_of(ColumnSettings).items()]
    keys[0] += f" One of {', '.join(GOES_WITH)}."
    blocks = ["\n".join([*map(_comment, (*HEAD, *keys)), "version = 1", *_train(files)])]
    lists = {name: getattr(chosen, name) for name in ("drop", "id", "redact")}
    blocks.append("\n".join(["[schema]", *(f"{name} = {toml_value(value)}" for name, value in lists.items() if value)]))
    columns = [pair for pair in zip(schema.columns, reports, strict=True) if pair[0].name and not _by_name(pair[1])]
    columns.sort(key=lambda pair: pair[0].modelled)  # what is left out stands first
    stated = decisive(schema, chosen).columns  # is written as the user has it, so that it makes the same model
    blocks += ["\n".join(_column(column, report, stated.get(column.name))) for column, report in columns]
    blocks.append("\n".join(["[fit]", *_fit(settings)]))
    return "\n\n".join(blocks) + "\n"


def _train(files: Sequence[str]) -> list[str]:
    """The key of the training files; none where a name is no text that TOML can hold."""
    return [f"train = {toml_value(list(files))}"] if all(_is_text(file) for file in files) else []


def _is_text(name: str) -> bool:
    return name.encode("utf-8", "ignore").decode() == name


def _by_name(report: ColumnReport) -> bool:
    """Whether a column is left out by --drop, --id or --label, which stand elsewhere in the file."""
    return report.asked and report.code != "ignored"


def _column(column: Column, report: ColumnReport, stated: ColumnSettings | None) -> Iterator[str]:
    """The table of one column, with comments above it.

    Args:
        column: what it is.
        report: its record, with examples.
        stated: what the user says of it, where that decides what it is.
    """
    if not column.modelled:
        yield _comment(f"LEFT OUT: {report.reason}")
    parts = [column_writing(report.writing), noteworthy(report)]
    parts.append(f"for example {' and '.join(map(toml_value, report.examples))}" if report.examples else "")
    if any(parts):
        yield _comment("; ".join(filter(None, parts)))
    if report.misfits:
        yield _comment(misfits_text(report.misfits))
    if report.keep:
        yield _comment('To keep it, write "categorical" in place of "ignore":')
    yield column_toml(column.name, stated or settings_of(column))
    if len(column.dates) > 1:
        yield _comment("No row tells day from month. Take the # away from the line that is right:")
        yield from (_comment(f"format = {toml_value(written.pattern)}") for written in column.dates)


def _fit(settings: FitSettings) -> Iterator[str]:
    """The keys of [fit] that say how the files are written, and those that differ from their defaults."""
    default = msgspec.to_builtins(FitSettings())
    for name, value in msgspec.to_builtins(settings).items():
        if value is not None and (name in DIALECT or value != default[name]):
            yield f"{name} = {toml_value(value)}"


def _comment(text: str) -> str:
    """A line of comment; what could end it is escaped."""
    return f"# {''.join(char if char.isprintable() else _escaped(char) for char in text)}".rstrip()


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()

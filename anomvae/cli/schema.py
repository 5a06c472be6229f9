"""anomvae schema."""

from pathlib import Path
from typing import Any

import click
import msgspec

from anomvae.cli import options
from anomvae.cli.command import Command
from anomvae.cli.output import Printer, note
from anomvae.config import Config, FitSettings, SchemaSettings
from anomvae.durable_io import faults, replacing
from anomvae.errors import DataError, UsageError


@click.command(
    "schema",
    cls=Command,
    examples=(
        "schema sample_data/orders --id order_id",
        "schema sample_data/employees.csv -o employees.toml",
    ),
)
@click.argument("train", type=options.FILE, nargs=-1)
@click.option("-o", "--output", type=options.FILE, help="Configuration to write, for you to edit and for fit to read.")
@click.option("--force", is_flag=True, help="Replace the file of -o where it is there already.")
@options.keys(FitSettings, "where", "label", "normal")
@options.keys(SchemaSettings, "drop", "id")
@options.keys(FitSettings, *options.DIALECT, "max_rows")
@options.configured
@options.everywhere
def command(
    train: tuple[str, ...], output: str | None, force: bool, config: Config, printer: Printer, **flags: Any
) -> int:
    """Show how 'fit' would read the columns of TRAIN (files or folders), and why. Nothing is trained.

    What would be left out of the model stands first, with the lines of TOML that keep it. With -o a configuration with
    every choice spelled out is written. The exit code is 3 where no column can be modelled.
    """
    from anomvae.commands.schema import schema
    from anomvae.report.schema import schema_report

    if output is not None:
        _check_output(output, force=force)
    settings = options.overlaid(config.fit, options.training(flags))
    with printer.progress() as advance:
        found = schema(train or config.train, settings, options.overlaid(config.schema, flags), advance)
    if output is not None:
        with faults(f"{output}: the configuration cannot be written"), replacing(Path(output)) as file:
            file.write(found.toml.encode())
    printer.result(msgspec.structs.replace(found.result, output=output or ""), schema_report)
    if any(column.modelled for column in found.result.columns):
        return 0
    error = DataError("nothing_to_learn", "no column can be modelled; state what one is ([schema.columns])")
    note(f"anomvae: {error.within(found.result.files[0])}")
    return error.exit_code


def _check_output(output: str, *, force: bool) -> None:
    """Refuse a file that cannot be written, or that a person may have edited.

    Raises:
        UsageError: the file is there, and --force is not given.
        EnvironmentFault: the folder is not there or may not be written.
    """
    options.check_targets(output)
    if Path(output).exists() and not force:
        raise UsageError(f"{output}: is there already, and may have been edited; name another file, or add --force.")

"""Where the rows of scored files go: one file, a folder with a name for each input, stdout, or nowhere."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from anomvae.data.writer import output_suffix
from anomvae.errors import UsageError


def targets(files: Sequence[str], output: str | None) -> list[str | None]:
    """The output of each input.

    Raises:
        UsageError: two inputs would write one file, or the output's name sets no format.
    """
    if output is None:
        return [None] * len(files)
    if len(files) == 1 and not (output != "-" and Path(output).is_dir()):
        if output != "-":
            output_suffix(output)
        return [output]
    if output == "-":
        raise UsageError("-o - takes one input; give a folder for several.")
    folder = Path(output)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{output}: with several inputs -o is a folder, and this is a file.")
    folder.mkdir(parents=True, exist_ok=True)
    named = [str(folder / _scored_name(file)) for file in files]
    twice = [name for name, count in Counter(named).items() if count > 1]
    if twice:
        raise UsageError(f"two inputs would both write {twice[0]}; score them apart.")
    return list(named)


def _scored_name(file: str) -> str:
    name = "stdin.csv" if file == "-" else Path(file).name
    stem = name.removesuffix(".gz")
    suffix = ".parquet" if stem.endswith(".parquet") else ".csv"
    return f"{stem.removesuffix('.parquet').removesuffix('.csv')}.scored{suffix}"

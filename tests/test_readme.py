"""The README is true: its commands run and print what it shows, its pictures are what a terminal shows.

`python -m tests.test_readme` writes the outputs anew; `python docs/make_pictures.py` the pictures.
"""

import re
import sys
import tempfile
from pathlib import Path

import pytest

from tests.fits import variables
from tests.transcripts import alike, difference, rerun

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PICTURES = ROOT / "docs" / "pictures"
FIGURE = re.compile(r"\d+\.\d+")
LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")
sys.path.insert(0, str(ROOT / "docs"))

pytestmark = pytest.mark.timeout(600)  # the walk fits three models, about 45 CPU seconds

import make_pictures  # type: ignore[import-not-found]  # noqa: E402


def in_a_folder(folder: Path, **variables: str) -> str:
    (folder / "sample_data").symlink_to(ROOT / "sample_data")
    return rerun(README.read_text(encoding="utf-8"), folder, **variables)


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory, fits: Path) -> tuple[Path, str]:
    """The folder in which the README was walked, and the README as it would be with what was printed."""
    folder = tmp_path_factory.mktemp("readme")
    return folder, in_a_folder(folder, **variables(tmp_path_factory.mktemp("bin"), fits))


@pytest.mark.slow
def test_every_command_prints_what_the_readme_shows(walked: tuple[Path, str]) -> None:
    assert difference(README.read_text(encoding="utf-8"), walked[1]) == ""


@pytest.mark.slow
def test_every_picture_shows_what_its_command_prints(walked: tuple[Path, str]) -> None:
    drawn = make_pictures.pictures(walked[0])
    assert set(drawn) == {path.stem for path in PICTURES.glob("*.svg")}
    for name, picture in drawn.items():
        shown = (PICTURES / f"{name}.svg").read_text(encoding="utf-8")
        assert difference(make_pictures.words(shown), make_pictures.words(picture)) == "", name


@pytest.mark.parametrize("picture", sorted(PICTURES.glob("*.svg")), ids=lambda path: path.stem)
def test_a_picture_is_small_and_fetches_nothing(picture: Path) -> None:
    text = picture.read_text(encoding="utf-8")
    assert len(text.encode()) < 60_000
    assert re.findall(r"https?://[^\"]+", text) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"@font-face|@import|url\(|<script|<image|href", text)


def test_every_picture_and_every_page_of_the_docs_is_there() -> None:
    page = README.read_text(encoding="utf-8")
    local = {link for link in LINK.findall(page) if "://" not in link}
    assert not {link for link in local if not (ROOT / link).exists()}
    assert {f"docs/pictures/{path.name}" for path in PICTURES.glob("*.svg")} <= local


def test_what_is_not_run_here_installs_what_exists() -> None:
    """`sh` blocks are the only ones that `rerun` leaves alone."""
    page = README.read_text(encoding="utf-8")
    assert set(re.findall(r"^```(\w+)$", page, re.MULTILINE)) == {"console", "python", "text", "sh"}
    known = r"python3 -m venv \.venv && \. \.venv/bin/activate|pip install \.|anomvae demo (orders|digits|employees)"
    for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL):
        assert [line for line in block.splitlines() if not re.fullmatch(known, line)] == []


def test_measured_figures_are_those_of_the_benchmarks() -> None:
    """Decimals of the README's table of measurements, and of the tables of docs/compared.md."""
    measured = set(FIGURE.findall((ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")))
    why = README.read_text(encoding="utf-8").partition("## Why this one")[2].partition("## ")[0]
    claims = [line.split("|")[2] for line in why.splitlines() if line.startswith("|")]
    compared = (ROOT / "docs" / "compared.md").read_text(encoding="utf-8").splitlines()
    claims += [line for line in compared if line.startswith("|")]
    figures = [figure for claim in claims for figure in FIGURE.findall(claim)]
    assert len(figures) > 60
    assert sorted(set(figures) - measured) == []


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("up 0:00:04  18 flagged", "up 0:01:09   18 flagged", True),
        ("Saved  sha256 2d52fd0161c2  22.0 s", "Saved  sha256 0123456789ab  9.1 s", True),
        ("score 18.35, recon 414,535.71", "score 18.36, recon 413,544.07", True),
        ("18 flagged", "19 flagged", False),
        ("p 6.8e-08", "p 6.8e-07", False),
        ("amount 4", "weight 4", False),
        ("a\nb", "a", False),
        ("4", "-4", False),
    ],
)
def test_a_wrong_word_or_number_is_seen_and_the_clock_is_not(shown: str, printed: str, same: bool) -> None:
    assert alike(shown, printed) is same


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        README.write_text(in_a_folder(Path(made)), encoding="utf-8")

"""The fits of the session (tests/fits.py): one run for the same words and bytes, another for any other."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import bad_inputs
from tests.conftest import ROOT
from tests.fits import SESSION

WORDS = ["fit", "t.csv", "--steps", "20", "--no-generator", "--no-selftest", "-o", "m"]


def run(module: str, folder: Path, fits: Path, *more: str) -> tuple[int, bytes]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), SESSION: str(fits)}
    done = subprocess.run([sys.executable, "-m", module, *WORDS, *more], cwd=folder, env=env, check=False)
    return done.returncode, (folder / "m").read_bytes()


@pytest.mark.slow
def test_a_fit_is_taken_only_where_words_and_bytes_are_the_same(tmp_path: Path) -> None:
    fits = tmp_path / "fits"
    places = [tmp_path / name for name in ("real", "first", "second", "other")]
    for place in (fits, *places):
        place.mkdir()
    for seed, place in zip((1, 1, 1, 2), places, strict=True):
        (place / "t.csv").write_text(bad_inputs.text(60, seed))
    real, first, second, other = places
    expected = run("anomvae", real, fits)
    assert run("tests.fits", first, fits) == expected
    (kept,) = (path for path in fits.iterdir() if path.is_dir())
    (kept / "model").write_bytes(b"kept")  # so that one sees what was taken
    assert run("tests.fits", second, fits) == (0, b"kept")
    assert run("tests.fits", first, fits, "--seed", "1")[1] not in (b"kept", expected[1])
    assert run("tests.fits", other, fits)[1] not in (b"kept", expected[1])

"""A model file is whole, repeatable, and cannot run code."""

import json
import os
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import anomvae
from anomvae.cli import main
from anomvae.config import FitSettings
from anomvae.store import model_file
from tests.conftest import SAMPLE

EMPLOYEES = str(SAMPLE / "employees.csv")


class Bomb:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.canary),)


def rebuilt(data: bytes, change: dict[str, Any] | None = None, document: dict[str, Any] | None = None) -> bytes:
    """The file with its header or its document changed."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    inner = json.loads(header["__metadata__"]["anomvae"])
    inner.update(document or {})
    header["__metadata__"]["anomvae"] = json.dumps(inner)
    header.update(change or {})
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def non_finite(data: bytes) -> bytes:
    length = int.from_bytes(data[:8], "little")
    at = 8 + length + json.loads(data[8 : 8 + length])["novelty"]["data_offsets"][0]
    return data[:at] + np.array([np.nan]).tobytes() + data[at + 8 :]


BAD = {
    "empty": lambda data: b"",
    "truncated": lambda data: data[:-100],
    "padded": lambda data: data + b"\0" * 8,
    "cut header": lambda data: data[:20],
    "header of a terabyte": lambda data: (1 << 40).to_bytes(8, "little") + data[8:],
    "no JSON": lambda data: (10).to_bytes(8, "little") + b"[[[[[[[[[[" + data,
    "deep JSON": lambda data: (1 << 19).to_bytes(8, "little") + b"[" * (1 << 19) + data,
    "5e10 doubles": lambda data: rebuilt(data, {"novelty": {"dtype": "F64", "shape": [50_000_000_000], "data_offsets": [0, 400_000_000_000]}}),
    "negative shape": lambda data: rebuilt(data, {"novelty": {"dtype": "F64", "shape": [-1], "data_offsets": [0, -8]}}),
    "unknown type": lambda data: rebuilt(data, {"novelty": {"dtype": "PICKLE", "shape": [1], "data_offsets": [0, 8]}}),
    "newer format": lambda data: rebuilt(data, document={"format": 99}),
    "older format": lambda data: rebuilt(data, document={"format": 4}),
    "unknown key": lambda data: rebuilt(data, document={"run": "me"}),
    "wrong layout": lambda data: rebuilt(data, document={"latent": 3}),
    "not finite": non_finite,
    "CSV": lambda data: b"a,b\n1,2\n",
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_damaged_model_is_refused_in_one_line(
    name: str, orders_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.anomvae"
    path.write_bytes(BAD[name](orders_model.read_bytes()))
    assert main(["inspect", str(path)]) == 4
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) == 1
    assert "Traceback" not in told.err


def test_an_older_model_is_told_to_be_made_again(
    orders_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "old.anomvae"
    path.write_bytes(rebuilt(orders_model.read_bytes(), document={"format": 3, "members": "five"}))
    assert main(["inspect", str(path)]) == 4
    assert "anomvae fit" in capsys.readouterr().err


def test_pickles_are_refused_and_nothing_in_them_runs(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    payload = pickle.dumps(Bomb(canary))
    (tmp_path / "plain.anomvae").write_bytes(payload)
    with zipfile.ZipFile(tmp_path / "zipped.anomvae", "w") as file:
        file.writestr("archive/data.pkl", payload)
    for name in ("plain", "zipped"):
        assert main(["inspect", str(tmp_path / f"{name}.anomvae")]) == 4
    assert not canary.exists()
    pickle.loads(payload)  # noqa: S301 (the bomb is live: the test can fail)
    assert canary.exists()


def test_loading_runs_no_code(orders_model: Path) -> None:
    model_file.load(orders_model)  # imports are done once this has run
    seen: list[str] = []
    active = True

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if active and event in ("pickle.find_class", "exec", "compile", "subprocess.Popen", "socket.connect", "import"):
            seen.append(event)

    sys.addaudithook(hook)
    model_file.load(orders_model)
    active = False
    assert seen == []


def test_save_and_load_keep_every_bit(tmp_path: Path) -> None:
    result = anomvae.fit([EMPLOYEES], tmp_path / "a.anomvae", FitSettings(steps=40))
    first = anomvae.load(tmp_path / "a.anomvae")
    assert model_file.save(first, tmp_path / "b.anomvae").model_id == result.model_id
    assert (tmp_path / "a.anomvae").read_bytes() == (tmp_path / "b.anomvae").read_bytes()
    scores = [anomvae.score([EMPLOYEES], anomvae.load(tmp_path / f"{name}.anomvae")) for name in "ab"]
    assert [one.files[0].worst for one in scores] == [scores[0].files[0].worst] * 2


def test_same_data_and_seed_give_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        anomvae.fit([EMPLOYEES], tmp_path / name, FitSettings(steps=40, seed=seed))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


def test_no_training_cell_is_in_the_file(tmp_path: Path) -> None:
    anomvae.fit([EMPLOYEES], tmp_path / "m", FitSettings(steps=20))
    data = (tmp_path / "m").read_bytes()
    incomes = [line.split(",")[3] for line in Path(EMPLOYEES).read_text().splitlines()[1:]]
    extremes = {min(incomes, key=float), max(incomes, key=float)}  # the range is told, on purpose
    assert not [income for income in incomes if income.encode() in data and income not in extremes]


def test_a_failed_write_leaves_the_old_model(tmp_path: Path) -> None:
    from anomvae import durable_io

    target = tmp_path / "m"
    target.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), durable_io.replacing(target) as file:
        file.write(b"new")
        raise ZeroDivisionError
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["m"]

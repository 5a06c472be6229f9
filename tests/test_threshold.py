"""anomvae threshold: the description of a model file changes, its tensors never."""

import csv
import json
import os
import shutil
from pathlib import Path

import msgspec
import pytest

from anomvae import durable_io
from anomvae.cli import main
from anomvae.folder.run_context import ReloadingModel
from anomvae.records.results import ThresholdResult
from anomvae.store import model_file
from anomvae.store.model_file import rewrite_description
from tests.conftest import SAMPLE

Captured = pytest.CaptureFixture[str]
DAY = str(SAMPLE / "incoming" / "2026-11-12.csv")


@pytest.fixture
def model(orders_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(orders_model, tmp_path / "m.anomvae"))


def asked(capsys: Captured, *argv: str) -> ThresholdResult:
    capsys.readouterr()
    assert main(["threshold", *argv, "--json"]) == 0
    return msgspec.json.decode(capsys.readouterr().out, type=ThresholdResult)


def tensors(path: Path) -> tuple[dict[str, object], bytes]:
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    return {key: value for key, value in header.items() if key != "__metadata__"}, data[start:]


def flagged(model: Path, tmp_path: Path, *argv: str) -> list[tuple[str, str, str]]:
    out = tmp_path / "out.csv"
    main(["score", DAY, "-m", str(model), "-o", str(out), "-q", *argv])
    with out.open(newline="") as file:
        return [(row["_av_score"], row["_av_pvalue"], row["_av_flag"]) for row in csv.DictReader(file)]


def test_show_tells_the_promise_of_fit_and_changes_nothing(model: Path, capsys: Captured) -> None:
    before = model.read_bytes()
    result = asked(capsys, "show", "-m", str(model))
    assert model.read_bytes() == before and not result.changed
    assert result.calibration.alpha == 0.01 and [one.by for one in result.history] == ["fit"]
    assert [one.threshold for one in result.alternatives] == sorted(one.threshold for one in result.alternatives)
    assert [one.alpha for one in result.alternatives if one.estimated] == [0.0001]
    assert all(one.rate_low < one.alpha < one.rate_high for one in result.alternatives)
    at = next(one for one in result.alternatives if one.alpha == 0.01)
    assert at.threshold == result.calibration.threshold


def test_set_flags_what_score_at_that_alpha_flags_and_nothing_else_moves(
    model: Path, tmp_path: Path, capsys: Captured
) -> None:
    wanted, old = flagged(model, tmp_path, "--alpha", "0.002"), tensors(model)
    result = asked(capsys, "set", "--alpha", "0.002", "-m", str(model))
    assert result.changed and result.model_id == model_file.load(model).model_id
    assert tensors(model) == old
    assert flagged(model, tmp_path) == wanted
    assert [(one.alpha, one.by) for one in result.history] == [(0.01, "fit"), (0.002, "threshold set")]


def test_history_is_kept_and_inspect_shows_it(model: Path, capsys: Captured) -> None:
    for alpha in ("0.05", "0.001", "0.05"):
        assert main(["threshold", "set", "--alpha", alpha, "-m", str(model), "-q"]) == 0
    assert main(["inspect", str(model)]) == 0
    shown = capsys.readouterr().out
    assert shown.count("set by threshold set") == 3 and "set by fit" in shown
    assert "expect 50 false alarms per 1,000" in shown


def test_setting_what_is_set_writes_nothing(model: Path, capsys: Captured) -> None:
    before = model.read_bytes()
    assert not asked(capsys, "set", "--alpha", "0.01", "-m", str(model)).changed
    assert model.read_bytes() == before


def test_a_score_becomes_its_p_value(model: Path, tmp_path: Path, capsys: Captured) -> None:
    result = asked(capsys, "set", "--score", "4.3", "-m", str(model))
    assert result.calibration.threshold <= 4.3
    assert 0.01 < result.calibration.alpha < 0.2
    rows = flagged(model, tmp_path)
    assert all(flag == "true" for score, _, flag in rows if float(score) >= 4.3)
    assert all(flag == "false" for score, _, flag in rows if float(score) <= result.calibration.threshold)


def test_an_alpha_below_counting_is_marked_as_estimated(model: Path, capsys: Captured) -> None:
    result = asked(capsys, "set", "--alpha", "0.00001", "-m", str(model))
    assert result.calibration.estimated and result.calibration.supported_alpha > 0.00001
    assert main(["threshold", "show", "-m", str(model)]) == 0
    shown = capsys.readouterr().out
    assert "a tail estimate" in shown and "estimated: beyond the calibration rows, no guarantee" in shown


@pytest.mark.parametrize(
    ("argv", "code", "word"),
    [
        (["set", "--alpha", "0"], 2, "above 0 and up to 0.5"),
        (["set", "--alpha", "0.51"], 2, "above 0 and up to 0.5"),
        (["set", "--alpha", "nan"], 2, "above 0 and up to 0.5"),
        (["set", "--alpha", "-1"], 2, "above 0 and up to 0.5"),
        (["set", "--alpha", "x"], 2, "not a valid float"),
        (["set"], 2, "--alpha A or --score S"),
        (["set", "--alpha", "0.1", "--score", "3"], 2, "one of them"),
        (["set", "--score", "0"], 2, "more than half of the normal rows"),
        (["set", "--score", "1e300"], 2, "no row"),
        (["set", "--score", "nan"], 2, "no row"),
        (["recalibrate"], 2, "needs FILES"),
        (["show", "-m", "missing.anomvae"], 4, "no such model file"),
        (["set", "--alpha", "0.1", "-m", DAY], 4, "not an anomvae model"),
    ],
)
def test_bad_input_ends_with_one_line_and_leaves_the_model(
    model: Path, capsys: Captured, argv: list[str], code: int, word: str
) -> None:
    before = model.read_bytes()
    capsys.readouterr()
    assert main(["threshold", argv[0], *([] if argv[0] == "recalibrate" else ["-m", str(model)]), *argv[1:]]) == code
    told = capsys.readouterr().err
    assert word in told and told.count("\n") == 1
    assert model.read_bytes() == before


@pytest.mark.parametrize("verb", ["create", "write", "sync", "rename"])
def test_a_full_disk_leaves_the_old_model(model: Path, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    def fail(done: str, path: object, *details: object) -> None:
        if done == verb:
            raise OSError(28, "No space left on device")

    before = model.read_bytes()
    monkeypatch.setattr(durable_io, "hook", fail)
    assert main(["threshold", "set", "--alpha", "0.1", "-m", str(model), "-q"]) == 74
    assert model.read_bytes() == before
    assert os.listdir(model.parent) == [model.name]


def test_a_running_watch_loads_the_moved_threshold(model: Path) -> None:
    told: list[str] = []
    current = ReloadingModel(str(model), model_file.load, told.append)
    assert current.current().calibration.alpha == 0.01
    assert main(["threshold", "set", "--alpha", "0.2", "-m", str(model), "-q"]) == 0
    assert current.current().calibration.alpha == 0.2
    assert len(told) == 1 and "reloaded" in told[0]


def test_a_link_stays_a_link(model: Path, tmp_path: Path) -> None:
    link = tmp_path / "current.anomvae"
    link.symlink_to(model.name)
    assert main(["threshold", "set", "--alpha", "0.2", "-m", str(link), "-q"]) == 0
    assert link.is_symlink() and model_file.load(model).calibration.alpha == 0.2


def test_a_model_replaced_in_between_is_not_overwritten(model: Path) -> None:
    detector = model_file.load(model)
    assert main(["threshold", "set", "--alpha", "0.2", "-m", str(model), "-q"]) == 0
    newer = model.read_bytes()
    with pytest.raises(Exception, match="run the command again"):
        rewrite_description(detector, model)
    assert model.read_bytes() == newer


@pytest.mark.parametrize("command", [["fit", DAY], ["score", DAY, "-m", "{model}"]])
@pytest.mark.parametrize("alpha", ["0", "0.6", "-0.1"])
def test_alpha_has_the_same_bounds_everywhere(
    model: Path, tmp_path: Path, capsys: Captured, command: list[str], alpha: str
) -> None:
    argv = [part.replace("{model}", str(model)) for part in command]
    capsys.readouterr()
    assert main([*argv, "--alpha", alpha]) == 2
    assert "must be a number above 0 and up to 0.5" in capsys.readouterr().err
    config = tmp_path / "c.toml"
    config.write_text(f"[{command[0]}]\nalpha = {alpha}\n")
    assert main([*argv, "-c", str(config)]) == 2
    assert f"{config}: [{command[0]}] alpha = {float(alpha):g}: must be" in capsys.readouterr().err

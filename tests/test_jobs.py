"""--jobs: several processes score, one commits, and nobody can tell from what comes out."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from anomvae.cli import main
from anomvae.folder.loop import FolderLoop
from anomvae.folder.output_folder import InProgress, OutputFolder
from anomvae.workers import pool
from anomvae.workers.process import Worker
from tests.folders import FAST, Watch, assert_same, environment, ids, lines, score, sink, table

pytestmark = pytest.mark.slow  # real runs with workers, each of its own

TIMES = re.compile(rb'"(seconds|committed_utc|sequence)": ?("[^"]*"|[\d.e-]+)')
GOOD = 42
SLOW = {"slow": 0.02}  # a disk that takes its time, so that signals find files under way


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Good files among bad ones, with times in their order."""
    (tmp_path / "in").mkdir()
    contents = [table(20, seed, wild=seed % 3 == 0) for seed in range(40)]
    contents[5:5] = [
        b"%PDF-1.7\n",
        b"PK\x03\x04 zip",
        b"",
        table(30, 99) + b"a,row,of,another,width,here\n",
        contents[7],
    ]
    for i, content in enumerate(contents):
        path = tmp_path / "in" / f"{i:03d}.csv"
        path.write_bytes(content)
        os.utime(path, (i, i))
    return tmp_path / "in"


def everything(out: Path) -> dict[str, bytes]:
    """All that lasts of an output folder, but for times and its own name; and the order of each state's deliveries.

    What is refused is looked at again after a while, so that when it falls between the good files is a matter of time.
    """
    files = [*(out / "results").iterdir(), *(out / "quarantine").iterdir(), out / "alerts.jsonl"]
    orders = {state: b" ".join(path for _, path in ids(out, state)) for state in ("committed", "quarantined")}
    return orders | {file.name: TIMES.sub(b"", file.read_bytes().replace(bytes(out), b"OUT")) for file in files}


def processes(parent: int) -> list[int]:
    """Ids of a process's children."""
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition: Any, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.01)


def results(out: Path) -> int:
    return len(list((out / "results").glob("*.csv"))) if (out / "results").is_dir() else 0


def suspects(out: Path) -> int:
    db = sqlite3.connect(f"file:{out / 'ledger.sqlite'}?mode=ro", uri=True)
    try:
        return int(db.execute("SELECT count(*) FROM suspect").fetchone()[0])
    finally:
        db.close()


def test_any_number_of_jobs_gives_the_same_bytes(folder: Path, out: Path, model: Path, tmp_path: Path) -> None:
    outs = {jobs: tmp_path / f"out{jobs}" for jobs in (1, 2, 3)}
    for jobs, place in outs.items():
        assert score(folder, place, model, "--jobs", str(jobs)) == 3
    for i in (10, 12):
        with (folder / f"{i:03d}.csv").open("ab") as file:
            file.write(b"".join(table(8, 200 + i).splitlines(keepends=True)[1:]))
    for jobs, place in outs.items():
        assert score(folder, place, model, "--jobs", str(jobs)) == 1
    found = {jobs: everything(place) for jobs, place in outs.items()}
    assert len(found[1]) == 2 * (GOOD + 2) + 3 + 1 + 2  # two good files have grown; three bad ones, the log, two orders
    assert found[2] == found[1]
    assert found[3] == found[1]
    assert_same(sink(outs[2]), sink(outs[1]))


def newest_first(patch: pytest.MonkeyPatch) -> None:
    """Files are committed in another order than they were taken in."""

    def bad(self: FolderLoop, most: int) -> None:
        while len(self._in_flight) > most:
            newest = next(reversed(self._in_flight.values()))
            self._waiting_out_faults(newest.arrival, partial(self._finish, newest))

    patch.setattr(FolderLoop, "_finish_all_but", bad)


def sweeps_all(patch: pytest.MonkeyPatch) -> None:
    """A file that is given up takes the temporary files of the others along."""
    renew = OutputFolder.renew
    patch.setattr(OutputFolder, "renew", lambda self, keep=(): renew(self))


@pytest.mark.parametrize("bug", [newest_first, sweeps_all])
def test_the_bench_catches_seeded_bugs(
    folder: Path, out: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bug: Any
) -> None:
    assert score(folder, tmp_path / "reference", model) == 3
    bug(monkeypatch)
    code = score(folder, out, model, "--jobs", "2")
    assert (code, everything(out)) != (3, everything(tmp_path / "reference"))


def test_a_folder_with_nothing_new_starts_no_worker(
    folder: Path, out: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    class Counted(Worker):
        def __init__(self, **options: Any) -> None:
            started.append(1)
            super().__init__(**options)

    monkeypatch.setattr(pool, "Worker", Counted)
    score(folder, out, model, "--jobs", "2")
    assert len(started) == 2
    assert score(folder, out, model, "--jobs", "2") == 0
    assert len(started) == 2


@pytest.mark.parametrize("how", ["abort", "memory", "bug"])
def test_a_file_that_kills_its_worker_is_quarantined_and_the_run_goes_on(
    folder: Path, out: Path, model: Path, tmp_path: Path, how: str
) -> None:
    assert score(folder, tmp_path / "reference", model) == 3
    (folder / "poison.csv").write_bytes(table(10, 1))
    os.utime(folder / "poison.csv", (9, 9))
    code, _, _ = Watch(folder, out, model, "--jobs", "2", "--idle-exit", "1s", fault={"poison": how}).ended()
    assert code == 3
    found, expected = sink(out), sink(tmp_path / "reference")
    assert found.quarantined == {**expected.quarantined, "poison.csv": "crashes_scorer"}
    assert found.results == expected.results
    assert found.log == expected.log
    assert found.flagged == expected.flagged


def test_a_killed_worker_loses_and_doubles_nothing(folder: Path, out: Path, model: Path, tmp_path: Path) -> None:
    assert score(folder, tmp_path / "reference", model) == 3
    process = Watch(folder, out, model, "--jobs", "2", "--idle-exit", "1s", fault=SLOW)
    for done in (3, 10):
        wait_for(lambda done=done: results(out) >= done)
        os.kill(processes(process.pid)[0], signal.SIGKILL)
    code, _, said = process.ended()
    assert (code, "its scorer died (signal 9)" in said) == (3, True)
    assert_same(sink(out), sink(tmp_path / "reference"))


def test_a_killed_parent_leaves_no_worker_and_all_its_files_are_found(
    folder: Path, out: Path, model: Path, tmp_path: Path
) -> None:
    assert score(folder, tmp_path / "reference", model) == 3
    for done in (2, 9, 20):
        process = Watch(folder, out, model, "--jobs", "2", fault=SLOW)
        wait_for(lambda done=done: results(out) >= done)
        workers = processes(process.pid)
        assert workers
        process.kill()
        process.ended()
        wait_for(lambda workers=workers: not any(map(alive, workers)), 5)
        marks = [msgspec.json.decode(line, type=InProgress) for line in (out / ".inflight").read_bytes().split(b"\n")]
        assert len({mark.path for mark in marks}) > 1
    assert score(folder, out, model, "--jobs", "2") == 3
    assert_same(sink(out), sink(tmp_path / "reference"))
    assert suspects(out) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_parent_and_workers_cleanly(
    folder: Path, out: Path, model: Path, tmp_path: Path, number: int
) -> None:
    assert score(folder, tmp_path / "reference", model) == 3
    process = Watch(folder, out, model, "--jobs", "2", fault=SLOW)
    wait_for(lambda: results(out) >= 5)
    workers = processes(process.pid)
    for pid in workers:  # as a service manager does, which signals all
        os.kill(pid, number)
    code, said, _ = process.end(number)
    assert code == (0 if number == signal.SIGTERM else 130)
    assert lines(said, "stopped")[0]["why"] == signal.Signals(number).name
    assert not any(map(alive, workers))
    assert suspects(out) == 0
    assert not list((out / ".tmp").iterdir())
    assert 5 <= results(out) < GOOD
    assert score(folder, out, model, "--jobs", "2") in (1, 3)
    assert_same(sink(out), sink(tmp_path / "reference"))


def test_a_timeout_drops_what_is_under_way_and_blames_nobody(
    folder: Path, out: Path, model: Path, tmp_path: Path
) -> None:
    assert score(folder, out, model, "--jobs", "2", "--timeout", "0.1s") in (0, 1, 3)
    assert results(out) < GOOD
    assert suspects(out) == 0
    assert score(folder, out, model, "--jobs", "2") in (1, 3)
    assert score(folder, tmp_path / "reference", model) == 3
    assert_same(sink(out), sink(tmp_path / "reference"))


def test_a_full_disk_in_a_worker_ends_the_run_with_74_and_blames_no_file(
    folder: Path, out: Path, model: Path, tmp_path: Path
) -> None:
    argv = [sys.executable, "-m", "anomvae", "score", str(folder), "-o", str(out), "-m", str(model), *FAST, "-q"]
    fault = {"fail": {"at": 12, "times": 1000, "verb": "create"}}
    done = subprocess.run([*argv, "--jobs", "2"], env=environment(fault), capture_output=True, text=True, check=False)
    assert (done.returncode, "No space left" in done.stderr.splitlines()[-1]) == (74, True), done.stderr
    assert suspects(out) == 0
    assert score(folder, out, model, "--jobs", "2") in (1, 3)
    assert score(folder, tmp_path / "reference", model) == 3
    assert_same(sink(out), sink(tmp_path / "reference"))


def test_a_new_model_reaches_the_workers(folder: Path, out: Path, model: Path, tmp_path: Path) -> None:
    moving = tmp_path / "m.anomvae"
    moving.write_bytes(model.read_bytes())
    process = Watch(folder, out, moving, "--jobs", "2")
    wait_for(lambda: results(out) == GOOD)
    assert main(["threshold", "set", "-m", str(moving), "--alpha", "0.2", "-q"]) == 0
    (folder / "new.csv").write_bytes(table(40, 500))
    (folder / "newer.csv").write_bytes(table(40, 501))
    wait_for(lambda: results(out) == GOOD + 2)
    code, said, _ = process.end()
    told = {one["file"]: one for one in lines(said, "file")}
    assert (code, told["000.csv"]["alpha"], told["new.csv"]["alpha"]) == (0, 0.01, 0.2)
    assert told["newer.csv"]["model_id"] == told["new.csv"]["model_id"] != told["000.csv"]["model_id"]


def test_several_files_give_the_same_record_and_outputs(
    folder: Path, model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files = [str(path) for path in sorted(folder.iterdir())]
    told = {}
    for jobs in ("1", "2", "3"):
        place = tmp_path / f"out{jobs}"
        argv = ["score", *files, "missing.csv", "-m", str(model), "-o", str(place), "--json", "--jobs", jobs]
        assert main(argv) == 3
        record = TIMES.sub(b"", capfd.readouterr().out.encode().replace(bytes(place), b"OUT"))
        told[jobs] = record, {path.name: path.read_bytes() for path in place.iterdir()}
    assert len(told["1"][1]) == GOOD
    assert len(json.loads(told["1"][0].replace(b",,", b",").replace(b",}", b"}"))["refused"]) == 4
    assert told["2"] == told["1"]
    assert told["3"] == told["1"]


@pytest.mark.parametrize("jobs", ["0", "-1", "65", "two"])
def test_a_number_of_jobs_that_cannot_be_is_refused(
    folder: Path, out: Path, model: Path, jobs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", str(folder), "-o", str(out), "-m", str(model), "--jobs", jobs]) == 2
    assert "jobs" in capsys.readouterr().err
    assert not out.exists()


def test_jobs_can_stand_in_the_configuration(
    folder: Path, out: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "c.toml"
    config.write_text("version = 1\n[score]\njobs = 2\n")
    given = []
    start = pool.Pool.__init__

    def noted(self: pool.Pool, jobs: int, **options: Any) -> None:
        given.append(jobs)
        start(self, jobs, **options)

    monkeypatch.setattr(pool.Pool, "__init__", noted)
    assert score(folder, out, model, "-c", str(config)) == 3
    assert given == [2]

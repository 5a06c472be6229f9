"""Folders for the tests of `watch` and `score FOLDER`: files to drop, processes to run, and what the sink holds."""

import csv
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from anomvae.cli import main
from tests import bad_inputs

ROOT = Path(__file__).parent.parent
FAST = ["--settle", "0.1s", "--rescan", "0.5s"]


class Sink(NamedTuple):
    """All that came out: result files by name, (delivery, line) of rows and of alert lines, flagged rows by the ledger."""

    results: dict[str, bytes]
    rows: Counter[tuple[str, str]]
    log: Counter[tuple[str, int]]
    flagged: Counter[str]
    quarantined: dict[str, str]


def sink(out: Path) -> Sink:
    """Read an output folder, and check what must always hold in one that no process works on."""
    results = {path.name: path.read_bytes() for path in (out / "results").iterdir() if path.suffix == ".csv"}
    rows: Counter[tuple[str, str]] = Counter()
    for name, data in results.items():
        for row in csv.DictReader(io.StringIO(data.decode(), newline="")):
            rows[name, row["_av_line"]] += 1
    log: Counter[tuple[str, int]] = Counter()
    for line in (out / "alerts.jsonl").read_bytes().splitlines():
        alert = json.loads(line)
        log[alert["delivery_id"], alert["line"]] += 1
    db = sqlite3.connect(f"file:{out / 'ledger.sqlite'}?mode=ro", uri=True)
    try:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        flagged = Counter(dict(db.execute("SELECT delivery_id, rows_flagged FROM delivery WHERE rows_flagged > 0")))
        known = dict(db.execute("SELECT result_name, result_sha256 FROM delivery WHERE state = 'committed'"))
        refused = {
            bytes(path).decode(): code
            for path, code in db.execute("SELECT path, reason_code FROM delivery WHERE state = 'quarantined'")
        }
        counts = db.execute("SELECT sum(rows_total), sum(rows_scored), sum(rows_rejected) FROM delivery").fetchone()
        assert (counts[0] or 0) == (counts[1] or 0) + (counts[2] or 0)
    finally:
        db.close()
    assert set(known) == set(results)
    assert not list((out / ".tmp").iterdir())
    assert {path.name.partition(".")[0] for path in (out / "quarantine").glob("*.json")} == {
        row[0] for row in ids(out, "quarantined")
    }
    return Sink(results, rows, log, flagged, refused)


def ids(out: Path, state: str) -> list[tuple[str, bytes]]:
    """Ids and paths of the deliveries of one state, in the order of their commit."""
    db = sqlite3.connect(f"file:{out / 'ledger.sqlite'}?mode=ro", uri=True)
    query = "SELECT delivery_id, path FROM delivery WHERE state = ? ORDER BY sequence"
    found = db.execute(query, (state,)).fetchall()
    db.close()
    return found


def assert_same(found: Sink, expected: Sink) -> None:
    """Nothing lost, nothing twice, the same bytes."""
    assert found.results == expected.results
    assert not [row for row, count in found.rows.items() if count != 1]
    assert found.log == expected.log
    assert Counter(delivery for delivery, _ in found.log) == found.flagged == expected.flagged
    assert set(found.log.values()) <= {1}
    assert found.quarantined == expected.quarantined


def table(rows: int, seed: int, wild: bool = True) -> bytes:
    """A good file; with `wild`, its third row is flagged for certain."""
    lines = bad_inputs.text(rows, seed).splitlines()
    if wild and rows > 2:
        lines[3] = "2026-03-04,9999.00,5,XX,true"
    return ("\n".join(lines) + "\n").encode()


def score(folder: Path, out: Path, model: Path, *more: str) -> int:
    """One pass over a folder, in this process; its files are still, so that nothing is gained by waiting for them."""
    return main(["score", str(folder), "-o", str(out), "-m", str(model), "-q", "--settle", "0.001s", *more])


def environment(fault: dict[str, Any] | None = None, **more: str) -> dict[str, str]:
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **more}
    if fault is not None:
        env["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tests" / "sabotage"), str(ROOT)])
        env |= {"ANOMVAE_TEST_FAULT": json.dumps(fault), "ANOMVAE_TEST_ROOT": str(ROOT)}
    return env


class Watch(subprocess.Popen[bytes]):
    """The real command, in a process of its own, telling JSON lines into files, since nobody reads a pipe here."""

    def __init__(self, folder: Path, out: Path, model: Path, *more: str, fault: Any = None, **options: Any) -> None:
        command = [sys.executable, "-m", "anomvae", "watch", str(folder), "-o", str(out), "-m", str(model), *FAST]
        self._said = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]  # noqa: SIM115 (closed when ended)
        streams = dict(zip(("stdout", "stderr"), self._said, strict=True))
        super().__init__([*command, "--json", *more], env=environment(fault), **streams, **options)

    def started(self) -> None:
        """Wait until it answers SIGTERM itself: before, a signal is the kernel's business."""
        until, bit = time.monotonic() + 30, 1 << (signal.SIGTERM - 1)
        while not int(Path(f"/proc/{self.pid}/status").read_text().split("SigCgt:")[1].split()[0], 16) & bit:
            assert self.poll() is None, self.ended()
            assert time.monotonic() < until, "it did not start"
            time.sleep(0.01)

    def ended(self, seconds: float = 60) -> tuple[int, str, str]:
        """Wait for the end: exit code, stdout, stderr."""
        self.wait(seconds)
        told = []
        for file in self._said:
            file.seek(0)
            told.append(file.read().decode())
            file.close()
        return self.returncode, *told

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Signal the process and wait."""
        self.send_signal(number)
        return self.ended()


def lines(text: str, kind: str) -> list[dict[str, Any]]:
    """The JSON lines of one kind."""
    return [one for one in map(json.loads, text.splitlines()) if one["schema"] == f"anomvae.{kind}/1"]

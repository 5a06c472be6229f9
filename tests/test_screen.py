"""A real terminal (a pty): the live screen of `watch`, the progress of `fit`, and two models side by side."""

import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from fcntl import ioctl
from pathlib import Path

import pytest

from anomvae.records.results import Challenge, Side
from anomvae.report.html_report import headline
from anomvae.report.terminal import challenge_lines
from tests.folders import FAST, environment, table
from tests.test_folder_report import drawn

pytestmark = pytest.mark.slow  # processes on a terminal of their own

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A command on a terminal of 100 columns and 40 lines; what it draws is read all the while."""

    def __init__(self, place: Path, *argv: str) -> None:
        self._ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        env = environment(None, TERM="xterm-256color") | {"COLUMNS": "100", "LINES": "40"}
        env.pop("NO_COLOR", None)
        command = [sys.executable, "-m", "anomvae", *argv]
        self.process = subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, env=env, cwd=place)
        os.close(theirs)
        self.raw = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._ours, 65536)
            except OSError:  # the other end was closed
                return
            if not data:
                return
            self.raw += data

    def ended(self, number: int = 0) -> tuple[int, str]:
        """Exit code, and all that was drawn, without colours and movements."""
        if number:
            self.process.send_signal(number)
        code = self.process.wait(60)
        self._reader.join(10)
        os.close(self._ours)
        return code, CONTROL.sub("", self.raw.decode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def watching(folder: Path, model: Path, *more: str) -> Terminal:
    """`watch` in the folder that holds the input, by short names."""
    return Terminal(folder.parent, "watch", "in", "-o", "out", "-m", str(model), *FAST, *more)


def test_the_live_screen_tells_of_each_file_and_leaves_the_terminal_as_it_was(folder: Path, model: Path) -> None:
    for i in range(3):
        (folder / f"{i}.csv").write_bytes(table(20, i, wild=i == 1))
    terminal = watching(folder, model, "--idle-exit", "1s")
    code, shown = terminal.ended()
    assert code == 1  # a critical row
    assert "running" in shown
    for i in range(3):
        assert re.search(rf"\bok +{i}\.csv +20 ", shown), shown[-3000:]
    assert "3 files  60 rows" in shown
    assert "ended (" in shown.splitlines()[-1]
    assert terminal.raw.rfind(b"\x1b[?25h") > terminal.raw.rfind(b"\x1b[?25l")  # the cursor is back


def test_a_terminal_is_left_in_order_when_a_signal_ends_the_watch(folder: Path, model: Path) -> None:
    terminal = watching(folder, model, "--ui", "live")
    until = time.monotonic() + 30
    while b"running" not in terminal.raw:
        assert terminal.process.poll() is None
        assert time.monotonic() < until, terminal.raw
        time.sleep(0.02)
    code, shown = terminal.ended(signal.SIGTERM)
    assert code == 0
    assert "SIGTERM" in shown.splitlines()[-1]
    assert terminal.raw.rfind(b"\x1b[?25h") > terminal.raw.rfind(b"\x1b[?25l")


def test_plain_lines_are_plain_on_a_terminal_too(folder: Path, model: Path) -> None:
    (folder / "a.csv").write_bytes(table(20, 1))
    terminal = watching(folder, model, "--idle-exit", "0.5s", "--ui", "plain")
    code, shown = terminal.ended()
    assert code == 1
    assert b"\x1b[?25l" not in terminal.raw  # nothing takes the screen
    assert len([line for line in shown.splitlines() if "a.csv" in line]) == 1


def test_fit_shows_how_far_it_is_on_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(table(120, 1, wild=False))
    code, shown = Terminal(tmp_path, "fit", "t.csv", "-o", "m", "--steps", "60").ended()
    assert code == 0, shown
    assert "━" in shown.partition("Trained on")[0]
    assert re.search(r"\b60\b", shown.partition("Trained on")[0])


def side(name: str, **power: float) -> Side:
    return Side(
        model=name, model_id="a", alpha=0.01, flagged=1234, rate=0.0123, low=0.01, high=0.02, mean_score=2.5, power=power,
    )  # fmt: skip


def test_two_models_stand_side_by_side() -> None:
    found = Challenge(
        rows=100_000, unreadable=7, both=1000, champion_only=234, challenger_only=5,
        champion=side("old.anomvae", wild=0.5, swap=0.25), challenger=side("new\x1b.anomvae", wild=0.75),
    )  # fmt: skip
    shown = [re.sub(" +", " ", drawn(line)).strip() for line in challenge_lines(found)]
    table_ = [line.strip() for line in shown[0].splitlines()]
    assert table_[0] == r"on 100,000 held-out rows in use: old.anomvae new: new\x1b.anomvae"
    assert "flagged 1,234 1,234" in table_
    assert "rate (95 %) 1.23 % (1.00-2.00) 1.23 % (1.00-2.00)" in table_
    assert "finds wild 50 % 75 %" in table_
    assert "finds swap 25 % -" in table_
    assert shown[1:] == [
        "flagged by both 1,000, only by the one in use 234, only by the new one 5",
        "7 held-out rows are unreadable for one of them",
    ]


@pytest.mark.parametrize(
    ("verdicts", "critical", "said"),
    [
        ({}, 0, "No file has been judged yet."),
        ({"ok": 1}, 0, "The file is ok."),
        ({"ok": 1}, 3, "The file is ok; 3 critical rows."),
        ({"ok": 2000}, 0, "All 2,000 files are within what is usual."),
        ({"ok": 2}, 1200, "All 2 files are within what is usual; 1,200 critical rows."),
        ({"ok": 2, "drifted": 1, "failed": 2}, 9, "3 of 5 files need a look: 1 drifted, 2 failed."),
    ],
)
def test_the_headline_says_what_an_engineer_asks_first(verdicts: dict[str, int], critical: int, said: str) -> None:
    assert headline("folder", verdicts, critical) == said
    assert headline("model", verdicts, critical).startswith("What this model learnt")

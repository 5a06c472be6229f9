"""Exactly once: through a kill at every change of the disk, a power cut, a full disk, a lost ledger, and a storm."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from anomvae import durable_io
from tests import faults
from tests.folders import FAST, Sink, assert_same, environment, score, sink, table

pytestmark = pytest.mark.slow  # runs that are killed, hundreds of them

TIMED = 2  # of the last changes, that a run makes or not as time goes: the health file


class Story:
    """One judged file, then three deliveries: a new file, the grown one, and one that is no table."""

    def __init__(self, base: Path, model: Path) -> None:
        self.model, self.folder, self.before = model, base / "in", base / "before"
        self.folder.mkdir()
        grown = table(12, 1)
        (self.folder / "grows.csv").write_bytes(grown)
        assert score(self.folder, self.before, model) == 1
        (self.folder / "grows.csv").write_bytes(grown + b"".join(table(8, 2).splitlines(keepends=True)[1:]))
        (self.folder / "new.csv").write_bytes(table(10, 3))
        (self.folder / "bad.csv").write_bytes(b"%PDF-1.7\n")
        counts = []
        for _ in range(3):  # a run that a busy machine holds up writes the health file once more
            shutil.rmtree(base / "reference", ignore_errors=True)
            shutil.copytree(self.before, base / "reference")
            counter = faults.Count()
            self.run(base / "reference", counter)
            counts.append(len(counter.verbs))
        self.changes = min(counts)
        self.expected = sink(base / "reference")

    def run(self, out: Path, hook: Callable[..., None] | None = None, bug: str = "", jobs: int = 1) -> int:
        """One pass in a forked process; returns its exit code, negative for a signal."""
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            code = 70
            try:
                if bug:
                    faults.BUGS[bug]()
                durable_io.hook = hook or durable_io.hook
                code = score(self.folder, out, self.model, "--jobs", str(jobs))
            finally:
                os._exit(code)
        if isinstance(hook, faults.Count) and type(hook) is faults.Count:
            return self._counted(out, hook, child)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def _counted(self, out: Path, hook: faults.Count, child: int) -> int:
        """Count in this process too: the same run on a copy, since a child's list is its own."""
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        copy = self.state("counted")
        old, durable_io.hook = durable_io.hook, hook
        try:
            score(self.folder, copy, self.model)
        finally:
            durable_io.hook = old
        return code

    def state(self, name: str) -> Path:
        out = self.folder.parent / name
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(self.before, out)
        return out


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Story:
    return Story(tmp_path_factory.mktemp("story"), model)


def test_the_story_has_what_it_should(story: Story) -> None:
    assert len(story.expected.results) == 3
    assert sum(story.expected.rows.values()) == 12 + 8 + 10
    assert story.expected.quarantined == {"bad.csv": "not_csv"}
    assert sum(story.expected.log.values()) >= 3
    assert story.changes > 40


@pytest.mark.parametrize("tear", [False, True], ids=["kill", "tear"])
def test_a_kill_at_every_change_of_the_disk_loses_and_doubles_nothing(story: Story, tear: bool) -> None:
    for k in range(1, story.changes + 1):
        out = story.state("killed")
        ended = story.run(out, faults.Kill(k, tear=tear))
        assert ended == -signal.SIGKILL or k > story.changes - TIMED, k
        assert story.run(out) in (0, 1, 3)
        assert_same(sink(out), story.expected)


def test_a_kill_of_the_process_that_commits_for_others_loses_and_doubles_nothing(story: Story) -> None:
    ends = []
    for k in range(1, story.changes, 7):
        out = story.state("killed")
        ends.append(story.run(out, faults.Kill(k), jobs=2))
        assert story.run(out, jobs=2) in (0, 1, 3)
        assert_same(sink(out), story.expected)
    assert ends.count(-signal.SIGKILL) >= 4  # what workers change is not counted here: the last ones may end well


def test_a_power_cut_at_every_change_of_the_disk_loses_and_doubles_nothing(story: Story) -> None:
    for k in range(1, story.changes + 1):
        assert_same(after_power_cut(story, k), story.expected)


def after_power_cut(story: Story, k: int, bug: str = "") -> Sink:
    out, shadow = story.state("cut"), story.folder.parent / "shadow"
    shutil.rmtree(shadow, ignore_errors=True)
    story.run(out, faults.PowerCut(k, out, shadow), bug)
    survivor = shadow if shadow.exists() else out
    assert story.run(survivor, bug=bug) in (0, 1, 3)
    return sink(survivor)


def test_a_kill_at_every_change_while_a_lost_ledger_is_rebuilt_loses_and_doubles_nothing(story: Story) -> None:
    done = story.state("rebuilt")
    assert story.run(done) in (0, 1, 3)
    for k in range(1, 18):  # tables, four deliveries, and that the ledger is whole again
        out = story.state("killed")
        shutil.rmtree(out)
        shutil.copytree(done, out)
        for path in out.glob("ledger.sqlite*"):
            path.unlink()
        assert story.run(out, faults.Kill(k)) == -signal.SIGKILL, k
        assert story.run(out) in (0, 1, 3)
        assert_same(sink(out), story.expected)


@pytest.mark.parametrize("bug", faults.BUGS)
def test_the_bench_catches_seeded_bugs(story: Story, bug: str) -> None:
    assert any(violated(story, k, bug) for k in range(story.changes, 0, -1)), f"no crash point betrays '{bug}'"


def violated(story: Story, k: int, bug: str) -> bool:
    """Whether a killed or cut-off run with a bug leaves the sink wrong."""
    try:
        out = story.state("buggy")
        story.run(out, faults.Kill(k), bug)
        story.run(out, bug=bug)
        assert_same(sink(out), story.expected)
        assert_same(after_power_cut(story, k, bug), story.expected)
    except (AssertionError, OSError, KeyError):
        return True
    return False


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EMFILE], ids=["full", "io", "descriptors"])
def test_a_failing_disk_ends_the_run_with_74_and_blames_no_file(story: Story, code: int) -> None:
    step = 1 if code == errno.ENOSPC else 4
    for k in range(1, story.changes + 1, step):
        out = story.state("failed")
        ended = story.run(out, faults.Fail(k, code))
        assert ended == 74 or (ended == 3 and sink(out) == story.expected), k  # health news may fail
        assert story.run(out) in (0, 1, 3)
        assert_same(sink(out), story.expected)


@pytest.mark.parametrize("damage", ["deleted", "noise", "cut", "another program's"])
def test_a_lost_ledger_is_rebuilt_and_no_result_changes(story: Story, damage: str) -> None:
    out = story.state("lost")
    story.run(out)
    times = {path: path.stat().st_mtime_ns for path in (out / "results").iterdir()}
    ledger = out / "ledger.sqlite"
    for path in out.glob("ledger.sqlite-*"):
        path.unlink()
    if damage == "deleted":
        ledger.unlink()
    elif damage == "noise":
        ledger.write_bytes(random.Random(0).randbytes(ledger.stat().st_size))
    elif damage == "cut":
        os.truncate(ledger, ledger.stat().st_size // 2)
    else:
        ledger.write_bytes(b"PK\x03\x04" * 2000)
    done = command(story, out)
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert "rebuilt from 4" in done.stderr
    assert_same(sink(out), story.expected)
    assert {path: path.stat().st_mtime_ns for path in (out / "results").iterdir()} == times


def command(story: Story, out: Path) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, "-m", "anomvae", "score", str(story.folder), "-o", str(out), "-m", str(story.model), "-q"]
    return subprocess.run([*argv, "--settle", "0.001s"], capture_output=True, text=True, env=environment(), check=False)


def test_a_ledger_of_a_newer_version_is_left_alone(story: Story) -> None:
    import sqlite3

    out = story.state("newer")
    db = sqlite3.connect(out / "ledger.sqlite")
    db.execute("PRAGMA user_version = 99")
    db.close()
    before = (out / "ledger.sqlite").read_bytes()
    done = command(story, out)
    assert (done.returncode, "newer anomvae" in done.stderr) == (74, True)
    assert (out / "ledger.sqlite").read_bytes() == before


def test_a_storm_of_kills_loses_and_doubles_nothing(tmp_path: Path, model: Path) -> None:
    storm(tmp_path, model, files=120, kills=12, seed=1)


def storm(base: Path, model: Path, files: int, kills: int, seed: int) -> None:
    """Files arrive while `watch` is killed at random moments and started again at once."""
    rng = random.Random(seed)
    folder, out = base / "in", base / "out"
    folder.mkdir()
    contents = {f"{i:05d}.csv": table(20, 1000 + i, wild=i % 3 == 0) for i in range(files)}
    writer = threading.Thread(target=deliver, args=(folder, contents, seed))
    writer.start()
    argv = [sys.executable, "-m", "anomvae", "watch", str(folder), "-o", str(out), "-m", str(model), *FAST, "--json"]
    for _ in range(kills):
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
        time.sleep(rng.uniform(0.2, 2.0))
        process.kill()
        process.wait()
    writer.join()
    done = subprocess.run(
        [*argv, "--idle-exit", "1.5s", "--fail-on", "never"], env=environment(), stdout=subprocess.DEVNULL, check=False
    )
    assert done.returncode == 0
    quiet, reference = base / "quiet", base / "reference"
    shutil.copytree(folder, quiet)
    assert score(quiet, reference, model, "--fail-on", "never") == 0
    found = sink(out)
    assert_same(found, sink(reference))
    assert sum(found.rows.values()) == 20 * files
    assert not found.quarantined


def deliver(folder: Path, contents: dict[str, bytes], seed: int) -> None:
    """Write files in the ways that writers have: renamed into place, slowly, or at once."""
    rng = random.Random(seed)
    for name, data in contents.items():
        way = rng.randrange(3)
        if way == 0:
            (folder / f"{name}.tmp").write_bytes(data)
            (folder / f"{name}.tmp").rename(folder / name)
        elif way == 1:
            with (folder / name).open("wb") as file:
                file.write(data[:100])
                file.flush()
                time.sleep(0.02)
                file.write(data[100:])
        else:
            (folder / name).write_bytes(data)
        time.sleep(0.01)

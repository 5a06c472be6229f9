"""make soak: the promises of a watched folder in full size. Prints a line for each, and stops at the first broken one.

    python -m tests.soak [name ...] [--seed N] [--minutes N]

Names: storm, flood, backlog, huge, hostile, terms, starts, strings, hour. `hour` takes an hour and runs only when named.
"""

import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from anomvae.report.sanitize import HARMFUL
from tests import bad_inputs
from tests.folders import Watch, assert_same, environment, score, sink, table
from tests.test_crashes import deliver, storm
from tests.test_folder_report import everything

A_FILE, NOISE = 1.0, 1024.0  # KiB that the state of a file in the folder may take, and that a young process still grows

MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stderr=subprocess.DEVNULL).returncode
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
"""


def measured(folder: Path, out: Path, model: Path, *more: str) -> tuple[int, int]:
    """Exit code and peak MiB of one pass over a folder, in a process of its own."""
    command = [sys.executable, "-m", "anomvae", "score", str(folder), "-o", str(out), "-m", str(model), "-q", *more]
    argv = [sys.executable, "-c", MEASURE, *command]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment(), check=True)
    code, mebibytes = map(int, done.stdout.split())
    return code, mebibytes


def soak_storm(base: Path, model: Path, seed: int) -> str:
    storm(base, model, files=1000, kills=50, seed=seed)
    return "1,000 files of 20 rows, 50 kills: 20,000 of 20,000 rows, 0 lost, 0 twice, bytes as without a fault"


def soak_flood(base: Path, model: Path, seed: int) -> str:
    """The reader is stopped while 12,000 files are made: more than the kernel's queue of events holds."""
    folder, out = base / "in", base / "out"
    folder.mkdir()
    process = Watch(folder, out, model, "--idle-exit", "5s", "--fail-on", "never")
    time.sleep(3)
    process.send_signal(signal.SIGSTOP)
    data = table(2, 1, wild=False)
    for i in range(12_000):
        (folder / f"{i}.csv").write_bytes(data + f"2026-03-01,{i % 99}.00,300,DE,true\n".encode())
    process.send_signal(signal.SIGCONT)
    code, _, err = process.ended(3600)
    assert code == 0, err
    found = sink(out)
    assert len(found.results) == 12_000
    return f"12,000 files made while the reader was stopped: {len(found.results):,} scored"


def soak_backlog(base: Path, model: Path, seed: int) -> str:
    """Memory does not grow with the backlog."""
    peaks = []
    for count in (300, 20_000):
        folder, out = base / f"in{count}", base / f"out{count}"
        folder.mkdir()
        for i in range(count):
            (folder / f"{i}.csv").write_bytes(table(1, i % 50, wild=False) + f"2026-03-01,{i}.5,300,DE,true\n".encode())
        code, peak = measured(folder, out, model, "--fail-on", "never", "--settle", "0.1s")
        assert code == 0
        peaks.append(peak)
    assert peaks[1] < 250
    return f"a backlog of 20,000 files: peak {peaks[1]} MiB (300 files: {peaks[0]} MiB)"


def soak_huge(base: Path, model: Path, seed: int) -> str:
    """One file of half a gigabyte, and files made to exhaust memory."""
    folder, out = base / "in", base / "out"
    folder.mkdir()
    block = table(20_000, 1, wild=False).split(b"\n", 1)[1]
    with (folder / "big.csv").open("wb") as file:
        file.write(bad_inputs.HEADER.encode() + b"\n")
        for _ in range(700):
            file.write(block)
    size = (folder / "big.csv").stat().st_size
    code, big = measured(folder, out, model, "--fail-on", "never")
    assert (code, big < 250) == (0, True), big
    (folder / "line.csv").write_bytes(b"x" * (300 << 20))
    code, line = measured(folder, out, model)
    assert (code, line < 250) == (3, True), line
    (folder / "quote.csv").write_bytes(table(3, 1) + b'2026-03-01,"' + b"1,2\n" * (256 << 20 >> 2))
    code, quote = measured(folder, out, model)
    assert (code, quote < 250) == (3, True), quote
    subprocess.run(["bash", "-c", f"head -c 10G /dev/zero | tr '\\0' '1' | gzip -1 > {folder}/bomb.csv.gz"], check=True)
    code, bomb = measured(folder, out, model)
    assert (code, bomb < 250) == (3, True), bomb
    told = f"peak {big} MiB for {size / 1e9:.1f} GB of rows, {line} for one line of 300 MB, {quote} for a quote"
    return f"{told} that is never closed, {bomb} for 10 GB in a gzip bomb"


def soak_hostile(base: Path, model: Path, seed: int) -> str:
    """The bad inputs among 100 good files, twenty times shuffled."""
    good = {f"good{i:03d}.csv": table(20, i, wild=i % 5 == 0) for i in range(100)}
    cases = {f"{i:03d}{case.suffix}": case for i, case in enumerate(bad_inputs.CASES)}
    bad = {name: case.data() for name, case in cases.items()}  # made once: gzip writes the time into a file
    expected = None
    for turn in range(20):
        folder, out = base / f"in{turn}", base / f"out{turn}"
        folder.mkdir()
        names = [*good, *cases]
        random.Random(seed + turn).shuffle(names)
        for name in names:
            (folder / name).write_bytes(good[name] if name in good else bad[name])
        assert score(folder, out, model) == 3
        found = sink(out)
        assert found.quarantined == {name: case.code for name, case in cases.items() if case.state == "refused"}
        expected = expected or found
        assert found.results == expected.results
        shutil.rmtree(folder)
    return f"{len(cases)} bad files among 100 good ones, 20 shuffles: every one as told, the good ones unharmed"


def soak_terms(base: Path, model: Path, seed: int) -> str:
    """SIGTERM at 100 random moments."""
    folder, out, rng, slowest = base / "in", base / "out", random.Random(seed), 0.0
    folder.mkdir()
    contents = {f"{i:05d}.csv": table(20, i, wild=i % 3 == 0) for i in range(1500)}
    writer = threading.Thread(target=deliver, args=(folder, contents, seed))
    writer.start()
    for _ in range(100):
        process = Watch(folder, out, model)
        time.sleep(rng.uniform(0.8, 2.0))
        started = time.monotonic()
        code, _, err = process.end()
        slowest = max(slowest, time.monotonic() - started)
        assert code in (0, -15), err  # -15: before the interpreter had begun
    writer.join()
    score(folder, out, model)
    shutil.copytree(folder, base / "copy")
    score(base / "copy", base / "reference", model)
    assert_same(sink(out), sink(base / "reference"))
    assert slowest < 10
    return f"100 SIGTERMs: the slowest end after {slowest:.1f} s, nothing lost, nothing twice"


def soak_starts(base: Path, model: Path, seed: int) -> str:
    """Twenty at once, ten times: one runs."""
    folder, out = base / "in", base / "out"
    folder.mkdir()
    for _ in range(10):
        starts = [Watch(folder, out, model) for _ in range(20)]
        until = time.monotonic() + 60
        while sum(one.poll() is None for one in starts) > 1 and time.monotonic() < until:
            time.sleep(0.1)
        (running,) = [one for one in starts if one.poll() is None]
        assert {one.returncode for one in starts if one is not running} == {75}
        running.kill()
        running.wait()
    return "20 starts at once, 10 times: one runs, 19 end with 75; after SIGKILL the next start succeeds"


def soak_strings(base: Path, model: Path, seed: int) -> str:
    """10,000 strings of any characters through every view of a folder."""
    rng = random.Random(seed)
    for i in range(10_000):
        text = "".join(chr(_character(rng)) for _ in range(rng.randrange(1, 30)))
        for shown in everything(text):
            bad = [char for char in shown if unicodedata.category(char) in HARMFUL and char != "\n"]
            assert not bad, (i, text)
    return "10,000 hostile strings in every view: nothing reaches the terminal as a command"


def _character(rng: random.Random) -> int:
    """Controls, marks and brackets often; anything now and then, surrogates too."""
    pools = (
        (0, 0x20),
        (0x7F, 0xA0),
        (0x300, 0x370),
        (0x2028, 0x2070),
        (0xD800, 0xE000),
        (0x5B, 0x5E),
        (0x20, 0x110000),
    )
    return rng.randrange(*rng.choice(pools))


def soak_hour(base: Path, model: Path, seed: int, minutes: float = 60) -> str:
    """A writer that never stops. A third of the time `watch` is killed every 20 s, then one process is left alone."""
    folder, out, stop, rng = base / "in", base / "out", threading.Event(), random.Random(seed)
    folder.mkdir()
    kills, steady = minutes * 60 / 3, minutes * 60 * 2 / 3
    writer = threading.Thread(target=_write_on, args=(folder, stop))
    writer.start()
    try:
        until, lives, starts = time.monotonic() + kills, [], 0
        while time.monotonic() < until:
            process = Watch(folder, out, model)
            lives += _sampled(process, folder, rng.uniform(10, 30))
            process.kill()
            process.wait()
            starts += 1
        process = Watch(folder, out, model)
        alone = _sampled(process, folder, steady)
    finally:
        stop.set()
        writer.join()
    code, _, err = process.end()
    assert code == 0, err
    assert score(folder, out, model, "--fail-on", "never") == 0
    return f"{len(os.listdir(folder)):,} files in {minutes:g} minutes, {starts} kills, {_exact(base, model)}; {_flat(lives, alone)}"


def _write_on(folder: Path, stop: threading.Event) -> None:
    """Two files of 20 rows a second, one slowly, one renamed into place, until told to stop."""
    count = 0
    while not stop.is_set():
        names = [f"{count + i:06d}.csv" for i in (0, 1)]
        deliver(folder, {name: table(20, 1000 + count + i, wild=i == 0) for i, name in enumerate(names)}, count)
        count += 2
        stop.wait(1.0)


class Sample(NamedTuple):
    """What a process and its children hold: MiB resident, MiB of its own, descriptors; and the files in its folder."""

    rss: float
    own: float
    descriptors: int
    files: int = 0


def _sampled(process: Watch, folder: Path, seconds: float) -> list[Sample]:
    """A sample a second, of a process that must live on all the while."""
    found, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(1)
        assert process.poll() is None, process.ended()
        found.append(_sample(process.pid)._replace(files=len(os.listdir(folder))))
    return found


def _sample(pid: int) -> Sample:
    told = Path(f"/proc/{pid}/smaps_rollup").read_text()
    rss, own = (int(told.split(f"\n{name}:")[1].split()[0]) / 1024 for name in ("Rss", "Anonymous"))
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    below = [_sample(int(child)) for child in children]
    descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    return Sample(
        rss + sum(b.rss for b in below),
        own + sum(b.own for b in below),
        descriptors + sum(b.descriptors for b in below),
    )


def _flat(lives: list[Sample], alone: list[Sample]) -> str:
    """The last fifth of a process's life against the second fifth: no descriptor more, and memory of its own for no more
    than the states of the files that have come to lie in the folder, which are remembered while they lie there.
    """
    fifth = len(alone) // 5
    early, late = alone[fifth : 2 * fifth], alone[-fifth:]
    rss, own, files = (
        [statistics.median(getattr(one, of) for one in part) for part in (early, late)]
        for of in ("rss", "own", "files")
    )
    assert 1024 * (own[1] - own[0]) < A_FILE * (files[1] - files[0]) + NOISE, (rss, own, files)
    assert max(one.descriptors for one in late) <= max(one.descriptors for one in early)
    peak = max(one.rss for one in (*lives, *alone))
    assert peak < 250
    held = sorted({one.descriptors for one in late})
    return (
        f"of one process alone, RSS {rss[0]:.1f} -> {rss[1]:.1f} MiB, of its own {own[0]:.1f} -> {own[1]:.1f} MiB"
        f" while files went from {files[0]:,.0f} to {files[1]:,.0f},"
        f" {held[0]}-{held[-1]} descriptors; peak RSS of all {peak:.0f} MiB"
    )


def _exact(base: Path, model: Path) -> str:
    """Every row that was written is there once, with the bytes that a quiet run gives."""
    names = os.listdir(base / "in")
    shutil.copytree(base / "in", base / "copy")
    assert score(base / "copy", base / "reference", model, "--fail-on", "never") == 0
    found = sink(base / "out")
    assert_same(found, sink(base / "reference"))
    assert sum(found.rows.values()) == 20 * len(names)
    assert not found.quarantined
    return f"{20 * len(names):,} of {20 * len(names):,} rows once"


def main() -> None:
    """Run what was named, or all but `hour`."""
    here: dict[str, Callable[[Path, Path, int], str]] = {
        name.removeprefix("soak_"): value for name, value in globals().items() if name.startswith("soak_")
    }
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", choices=[*here, []], default=[])
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--minutes", type=float, default=60, help="how long `hour` is")
    told = parser.parse_args()
    here["hour"] = partial(soak_hour, minutes=told.minutes)
    print(f"seed {told.seed}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        model = bad_inputs.model(Path(name))
        for which in told.names or [name for name in here if name != "hour"]:
            started = time.monotonic()
            base = Path(name) / which
            base.mkdir()
            line = here[which](base, model, told.seed)
            print(f"{which}: {line} [{time.monotonic() - started:.0f} s]", flush=True)
            shutil.rmtree(base)


if __name__ == "__main__":
    main()

"""make bench-scale: `score FOLDER` on this machine, and on a Ray cluster of 1, 2 and 4 workers on this machine.

24 files of 20,000 rows, and one Parquet file of 2,000,000. Asserted: the same bytes out, and at most 2.2 times the CPU
of the local run. CPU is that of all processes of a run: the driver's, and of the nodes what the clocks of their
processes have gained, read in /proc. Start-up is that of a run over files of one row, measured in the same way and told
apart.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.page import write_section

FILES, ROWS, ROUNDS = 24, 20_000, 2
LONG, GROUP = 2_000_000, 100_000  # rows of the long file, and of its row groups
LIMIT = 2.2  # times the CPU of the local run
STARTERS = 8  # files of one row, so that every worker has something to do
ONE = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
TICK = os.sysconf("SC_CLK_TCK")


class Cost(NamedTuple):
    """Seconds of the clock and of CPU."""

    clock: float
    cpu: float


def write(path: Path, rows: int, seed: int) -> None:
    """Thirty columns: six causes, what follows from them, three categories."""
    rng = np.random.default_rng(seed)
    causes = rng.normal(size=(rows, 6))
    mix = np.random.default_rng(0).normal(size=(6, 27))
    numbers = causes @ mix + 0.1 * rng.normal(size=(rows, 27))
    words = np.array(["red", "green", "blue", "grey"])[rng.integers(0, 4, (rows, 3))]
    lines = [",".join([*(f"{value:.4f}" for value in a), *b]) for a, b in zip(numbers.tolist(), words, strict=True)]
    header = ",".join([*(f"n{j}" for j in range(27)), "a", "b", "c"])
    path.write_text("\n".join([header, *lines]) + "\n")


def family(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(below for child in children for below in family(int(child)))]


def ticks(pid: int) -> int:
    """CPU of a process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(map(int, fields[11:13]))


def roots(cluster: Any) -> list[int]:
    """The processes that a cluster's nodes began with."""
    nodes = [cluster.head_node, *cluster.worker_nodes]
    return [one.process.pid for node in nodes for kind in node.all_processes.values() for one in kind]


def look(cluster: Any, clocks: dict[int, int]) -> None:
    """Note what the clocks of a cluster's processes say; a raylet does not ask for those of its dead."""
    for root in roots(cluster) if cluster else ():
        clocks.update({pid: ticks(pid) for pid in family(root)})


def run(folder: Path, out: Path, model: Path, cluster: Any = None) -> Cost:
    """One run into a fresh output folder."""
    argv = [
        sys.executable,
        "-m",
        "anomvae",
        "score",
        str(folder),
        "-o",
        str(out),
        "-m",
        str(model),
        "-q",
        "--settle",
        "0.1s",
    ]
    argv += [
        "--fail-on",
        "never",
        *(["--engine", "ray", "--address", cluster.address] if cluster else ["--threads", "1"]),
    ]
    before: dict[int, int] = {}
    look(cluster, before)
    clocks, began, start = dict(before), os.times(), time.monotonic()
    driver = subprocess.Popen(argv, env=ONE, cwd=Path(__file__).parent.parent)
    while driver.poll() is None:
        look(cluster, clocks)
        time.sleep(0.05)
    clock, ended = time.monotonic() - start, os.times()
    assert driver.returncode == 0  # noqa: S101
    nodes = (sum(clocks.values()) - sum(before.values())) / TICK
    own = ended.children_user + ended.children_system - began.children_user - began.children_system
    return Cost(clock, own + nodes)


def bytes_of(out: Path) -> str:
    """One hash of all results and alerts."""
    digest = hashlib.sha256((out / "alerts.jsonl").read_bytes())
    for path in sorted((out / "results").glob("*.csv")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def measured(base: Path, name: str, cluster: Any = None) -> tuple[Cost, Cost, str]:
    """The best start-up and the best run of several, and the hash of what came out."""
    small, whole = [], []
    for turn in range(ROUNDS + 1):  # the first starts the nodes' processes, which stay
        starts, works = base / f"{name}-{turn}-small", base / f"{name}-{turn}"
        small.append(run(base / "one", starts, base / "m.anomvae", cluster))
        whole.append(run(base / "in", works, base / "m.anomvae", cluster))
    least = [Cost(*(min(column) for column in zip(*costs[1:], strict=True))) for costs in (small, whole)]
    return least[0], least[1], bytes_of(works)


def cluster_of(workers: int) -> Any:
    """A head that works not, and nodes of one CPU."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(workers):
        cluster.add_node(num_cpus=1)
    return cluster


def fitted(base: Path) -> None:
    """The model of the rows at `train.csv`."""
    fit = [sys.executable, "-m", "anomvae", "fit", str(base / "train.csv"), "-o", str(base / "m.anomvae"), "-q"]
    subprocess.run([*fit, "--no-generator", "--no-selftest"], check=True, env=ONE)


def many() -> str:
    """Many files: measure, assert, tell."""
    lines = ["| who scores | start-up, s (CPU) | run, s (CPU) | rows a second, start-up apart | CPU against local |"]
    lines.append("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        (base / "in").mkdir()
        (base / "one").mkdir()
        write(base / "train.csv", 5000, 0)
        for i in range(STARTERS):
            write(base / "one" / f"{i}.csv", 1, 100 + i)
        for i in range(FILES):
            write(base / "in" / f"{i:02d}.csv", ROWS, 2 + i)
        fitted(base)
        start, local, expected = measured(base, "local")
        work = local.cpu - start.cpu
        lines.append(_line("this machine, one process", FILES * ROWS, start, local, work))
        ratios = []
        for workers in (1, 2, 4):
            cluster = cluster_of(workers)
            start, cost, found = measured(base, f"ray{workers}", cluster)
            cluster.shutdown()
            assert found == expected, f"{workers} workers gave other bytes"  # noqa: S101
            lines.append(_line(_nodes(workers), FILES * ROWS, start, cost, work))
            ratios.append((cost.cpu - start.cpu) / work)
    text = "\n".join(
        [
            f"{FILES} files of {ROWS:,} rows, 27 numbers and 3 categories, on {os.cpu_count()} cores; the best of",
            f"{ROUNDS} runs; results and alerts are the same bytes in every line. Start-up: a run over {STARTERS}",
            "files of one row. CPU: of the driver and of all processes of the nodes.",
            "",
            *lines,
            "",
        ]
    )
    print(text)
    assert max(ratios) <= LIMIT, ratios  # noqa: S101
    return text


def write_long(path: Path, rows: int, seed: int) -> None:
    """Ten columns: four causes, eight numbers that follow from them, two categories."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow import csv

    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(0).normal(size=(4, 8))
    numbers = np.round(rng.normal(size=(rows, 4)) @ mix + 0.1 * rng.normal(size=(rows, 8)), 4)
    words = np.array(["red", "green", "blue", "grey"])[rng.integers(0, 4, (rows, 2))]
    columns = {**{f"n{j}": numbers[:, j] for j in range(8)}, "a": words[:, 0], "b": words[:, 1]}
    if path.suffix == ".csv":
        csv.write_csv(pa.table(columns), path)
    else:
        pq.write_table(pa.table(columns), path, row_group_size=GROUP)


def long() -> str:
    """One long Parquet file: measure, assert, tell."""
    lines = ["| who scores | start-up, s (CPU) | run, s (CPU) | rows a second, start-up apart | CPU against local |"]
    lines.append("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        base, ratios, local = Path(name), list[float](), 0.0
        for folder in ("in", "one"):
            (base / folder).mkdir()
        write_long(base / "train.csv", 5000, 0)
        fitted(base)
        write_long(base / "in" / "long.parquet", LONG, 1)
        for i in range(STARTERS):
            write_long(base / "one" / f"{i}.parquet", 1, 100 + i)
        for workers in (0, 1, 2):
            cluster = cluster_of(workers) if workers else None
            for turn in range(2):  # the first starts the nodes' processes, which stay
                start = run(base / "one", base / f"{workers}-{turn}-small", base / "m.anomvae", cluster)
            cost = run(base / "in", base / f"{workers}", base / "m.anomvae", cluster)
            if cluster:
                cluster.shutdown()
            local = local or cost.cpu - start.cpu
            expected = bytes_of(base / "0")
            assert bytes_of(base / f"{workers}") == expected, f"{workers} workers gave other bytes"  # noqa: S101
            ratios.append((cost.cpu - start.cpu) / local)
            lines.append(_line(_nodes(workers) if workers else "this machine, one process", LONG, start, cost, local))
    text = "\n".join(
        [
            f"A Parquet file of {LONG:,} rows, 8 numbers and 2 categories, in row groups of {GROUP:,}; one run each.",
            "Results and alerts are the same bytes in every line.",
            "",
            *lines,
            "",
        ]
    )
    print(text)
    assert max(ratios) <= LIMIT, ratios  # noqa: S101
    return text


def main() -> None:
    """Measure many files and a long one, write the section."""
    os.environ.update(ONE)
    write_section("scale", f"{many()}\n{long()}")


def _nodes(workers: int) -> str:
    return f"Ray, {workers} node{'s' * (workers > 1)} of one CPU"


def _line(name: str, rows: int, start: Cost, cost: Cost, local: float) -> str:
    rate = rows / (cost.clock - start.clock)
    ratio = (cost.cpu - start.cpu) / local
    clocks = [f"{one.clock:.1f} ({one.cpu:.1f})" for one in (start, cost)]
    return f"| {' | '.join([name, *clocks, f'{rate:,.0f}', f'{ratio:.2f}'])} |"


if __name__ == "__main__":
    main()

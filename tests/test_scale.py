"""--engine ray: nobody can tell from what comes out that a cluster scored, whatever is killed meanwhile.

The cluster is real: several nodes, each with processes of its own, on this machine. Only the first tests are part of
`make test`; `make test-scale` runs the others.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import anomvae
from anomvae.cli import main
from anomvae.config import ScoreSettings
from anomvae.scoring.summary import Severities
from anomvae.table import reader
from anomvae.workers.protocol import Answer, Delivery, Done, Failure
from tests import bad_inputs
from tests.folders import FAST, assert_same, environment, score, sink, table
from tests.test_jobs import alive, everything, processes, results, suspects, wait_for

pytest.importorskip("ray")

from anomvae.cluster.ray import task
from anomvae.workers.delivery import Job

FILES, ROWS = 24, 400
SLOW = {"slow": 0.05}  # a disk that takes its time, so that what is killed is found at work


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bad_inputs.model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good files, two bad ones among them, with times in their order."""
    place = tmp_path_factory.mktemp("in")
    contents = [table(ROWS, seed, wild=seed % 3 == 0) for seed in range(FILES)]
    contents[5:5] = [b"%PDF-1.7\n", table(30, 99) + b"a,row,of,another,width,here\n"]
    for i, content in enumerate(contents):
        path = place / f"{i:03d}.csv"
        path.write_bytes(content)
        os.utime(path, (i, i))
    return place


@pytest.fixture(scope="module")
def reference(folder: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What this machine alone makes of the folder."""
    place = tmp_path_factory.mktemp("reference") / "out"
    assert score(folder, place, model) == 3
    return place


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def judged(out: Path) -> dict[str, bytes]:
    """All that lasts, but for times, among them the moment at which a bad file has been still for long enough."""
    return {name: re.sub(rb'"sequence": ?\d+', b"", data) for name, data in everything(out).items()}


class Nodes:
    """A cluster on this machine: a head that works not, and nodes of so many CPUs."""

    def __init__(self, *cpus: int) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        self.nodes = [self.add(count) for count in cpus]

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def add(self, cpus: int) -> Any:
        return self._cluster.add_node(num_cpus=cpus)

    def lose(self, node: Any) -> None:
        """A node's processes die at once."""
        self._cluster.remove_node(node, allow_graceful=False)

    def busy(self, name: str = "task") -> list[int]:
        """Processes that carry out a task of this name now."""
        return [
            pid
            for node in self.nodes
            for started in node.all_processes.get("raylet", ())
            for pid in processes(started.process.pid)
            if f"ray::{name}".encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]

    def end(self) -> None:
        self._cluster.shutdown()


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    """Two nodes of one CPU, whose disks are slow."""
    for name, value in environment(SLOW).items():
        monkeypatch.setenv(name, value)
    cluster = Nodes(1, 1)
    for name in ("ANOMVAE_TEST_FAULT", "PYTHONPATH"):
        monkeypatch.delenv(name)
    yield cluster
    cluster.end()


def command(folder: Path, out: Path, model: Path, address: str, *more: str) -> list[str]:
    argv = [sys.executable, "-m", "anomvae", "score", str(folder), "-o", str(out), "-m", str(model), *FAST, "-q"]
    return [*argv, "--engine", "ray", "--address", address, *more]


def run(folder: Path, out: Path, model: Path, address: str, *more: str) -> int:
    """One run, in a process of its own, to its end."""
    argv = command(folder, out, model, address, *more)
    return subprocess.run(argv, env=environment(), check=False, capture_output=True, timeout=120).returncode


def started(folder: Path, out: Path, model: Path, address: str, *more: str) -> "subprocess.Popen[bytes]":
    argv = command(folder, out, model, address, *more)
    quiet = subprocess.DEVNULL
    return subprocess.Popen(argv, env=environment(), stdout=quiet, stderr=quiet)


# --- one machine


@pytest.mark.scale
def test_a_ray_of_this_machine_gives_the_same_bytes(
    folder: Path, reference: Path, out: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    argv = [sys.executable, "-m", "anomvae", "score", str(folder), "-o", str(out), "-m", str(model), *FAST, "-q"]
    done = subprocess.run([*argv, "--engine", "ray"], env=environment(), check=False, capture_output=True, timeout=120)
    assert done.returncode == 3, done.stderr
    assert judged(out) == judged(reference)
    assert_same(sink(out), sink(reference))


WITHOUT = """
import sys
class Without:
    def __init__(self, finder): self.finder = finder
    def find_spec(self, name, *more): return None if name == "ray" else self.finder.find_spec(name, *more)
sys.meta_path[:] = [Without(finder) if hasattr(finder, "find_spec") else finder for finder in sys.meta_path]
from anomvae.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_without_the_extra_one_line_says_what_to_install(folder: Path, out: Path, model: Path) -> None:
    argv = ["score", str(folder), "-o", str(out), "-m", str(model), "--engine", "ray"]
    done = subprocess.run([sys.executable, "-c", WITHOUT, *argv], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "anomvae[scale]" in done.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--engine", "ray", "--jobs", "2"], "cluster's CPUs"),
        (["--engine", "dask"], "ray"),
    ],
)
def test_engines_that_cannot_be_are_refused(
    folder: Path, out: Path, model: Path, argv: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", str(folder), "-o", str(out), "-m", str(model), *argv]) == 2
    assert told in capsys.readouterr().err
    assert not out.exists()


def test_an_engine_goes_with_a_folder(folder: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", str(folder / "000.csv"), "-m", str(model), "--engine", "ray"]) == 2
    assert "--engine goes with a folder" in capsys.readouterr().err


def delivery(path: Path, place: Path, model: Path) -> bytes:
    from anomvae.durable_io import sha256

    digest = sha256(model)
    job = Job(
        name=path.name,
        delivery_id="d",
        sha256=sha256(path) if path.exists() else "",
        settings=ScoreSettings(),
        suffix=".csv",
        result=str(place / "1.csv"),
        alerts=str(place / "1.alerts"),
        target=str(place / "d.csv"),
    )
    return msgspec.msgpack.encode(Delivery(job, str(model), digest, os.fsencode(path)))


def carried_out(path: Path, place: Path, model: Path, version: str = anomvae.__version__) -> Answer:
    message, files = task(delivery(path, place, model), version, model.read_bytes())
    assert files == ()
    answer: Answer = msgspec.msgpack.decode(message, type=Answer)
    return answer


def test_a_second_attempt_gives_the_same_files_and_a_refused_one_none(
    folder: Path, model: Path, tmp_path: Path
) -> None:
    found = []
    for _ in range(2):
        answer = carried_out(folder / "000.csv", tmp_path, model)
        assert isinstance(answer, Done)
        found.append({path.name: path.read_bytes() for path in tmp_path.iterdir()})
    assert sorted(found[0]) == ["1.alerts", "1.csv"]
    assert found[1] == found[0]
    refused = carried_out(folder / "005.csv", tmp_path, model)
    assert isinstance(refused, Failure)
    assert refused.kind == "refused"


def test_a_node_that_differs_or_sees_another_disk_ends_the_run(folder: Path, model: Path, tmp_path: Path) -> None:
    other = carried_out(folder / "000.csv", tmp_path, model, "0.0.1")
    assert isinstance(other, Failure)
    assert other.kind == "fault"
    assert "all nodes need the same" in other.message
    unseen = carried_out(tmp_path / "nowhere.csv", tmp_path, model)
    assert isinstance(unseen, Failure)
    assert unseen.kind == "fault"
    assert "all nodes share" in unseen.message
    unwritable = carried_out(folder / "000.csv", tmp_path / "nowhere", model)
    assert isinstance(unwritable, Failure)
    assert unwritable.kind == "fault"


def test_the_ledger_can_stand_apart_from_results_on_a_shared_disk(
    folder: Path, reference: Path, out: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state"
    assert score(folder, out, model, "--state", str(state)) == 3
    assert sorted(path.name for path in out.iterdir()) == [".tmp", "lock", "results"]
    assert_same(sink(state), sink(reference))
    assert score(folder, out, model, "--state", str(state)) == 0
    (state / "ledger.sqlite").unlink()
    assert score(folder, out, model, "--state", str(state)) == 0
    assert_same(sink(state), sink(reference))
    assert main(["report", str(state), "-m", str(model), "-o", str(tmp_path / "page.html"), "--json"]) == 0
    assert main(["status", str(state)]) == 0
    assert score(folder, tmp_path / "other", model, "--state", str(state)) == 74
    assert score(folder, out, model, "--state", str(out)) == 2
    assert score(folder, out, model, "--state", str(folder / "state")) == 2


def test_what_is_critical_over_the_run_is_what_it_would_be_in_one_file(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    parts = [table(200, seed, wild=seed % 2 == 0) for seed in range(6)]
    for i, part in enumerate(parts):
        (tmp_path / "in" / f"{i}.csv").write_bytes(part)
    header = parts[0].splitlines(keepends=True)[0]
    (tmp_path / "all.csv").write_bytes(header + b"".join(part.removeprefix(header) for part in parts))
    argv = ["-m", str(model), "--json", "--alpha", "0.05", "--fail-on", "never"]
    assert main(["score", str(tmp_path / "all.csv"), *argv]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert main(["score", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--settle", "0.1s", *argv]) == 0
    run = json.loads(capsys.readouterr().out)
    assert whole["critical"] > 0
    assert run["critical_together"] == whole["critical"]
    assert (run["rows"], run["flagged"]) == (whole["rows"], whole["flagged"])


@given(st.lists(st.lists(st.tuples(st.integers(0, 1000), st.booleans()), max_size=20), max_size=6), st.randoms())
def test_severities_add_up_exactly_in_any_order(files: list[list[tuple[int, bool]]], order: random.Random) -> None:
    whole, merged = Severities(), Severities()
    parts = []
    for rows in files:
        part = Severities()
        severity, flags = np.array([tenth / 10 for tenth, _ in rows]), np.array([flag for _, flag in rows], dtype=bool)
        part.add(severity, flags)
        whole.add(severity, flags)
        parts.append(part.tenths())
    order.shuffle(parts)
    for told in parts:
        merged.merge(told)
    assert merged.tenths() == whole.tenths()
    assert (merged.limit, merged.critical, merged.bins()) == (whole.limit, whole.critical, whole.bins())


# --- make test-scale


@pytest.mark.scale
def test_any_number_of_workers_gives_the_same_bytes(folder: Path, reference: Path, tmp_path: Path, model: Path) -> None:
    cluster = Nodes(1)
    try:
        for more in (0, 1, 2):
            if more:
                cluster.add(more)
            place = tmp_path / f"out{more}"
            assert run(folder, place, model, cluster.address) == 3
            assert judged(place) == judged(reference)
            assert_same(sink(place), sink(reference))
        assert run(folder, place, model, cluster.address) == 0
        assert judged(place) == judged(reference)
    finally:
        cluster.end()


@pytest.mark.scale
def test_a_killed_worker_and_a_lost_node_lose_and_double_nothing(
    folder: Path, reference: Path, out: Path, model: Path, nodes: Nodes
) -> None:
    process = started(folder, out, model, nodes.address)
    wait_for(lambda: results(out) >= 2 and nodes.busy(), 60)
    os.kill(nodes.busy()[0], signal.SIGKILL)
    wait_for(lambda: results(out) >= 8, 60)
    nodes.lose(nodes.nodes.pop())
    wait_for(lambda: process.poll() is not None, 120)
    assert process.returncode == 3
    assert judged(out) == judged(reference)
    assert_same(sink(out), sink(reference))
    assert suspects(out) == 0


@pytest.mark.scale
def test_a_killed_driver_leaves_only_whole_results_and_the_next_run_finishes(
    folder: Path, reference: Path, out: Path, model: Path, nodes: Nodes
) -> None:
    whole = {path.name: path.read_bytes() for path in (reference / "results").glob("*.csv")}
    for done in (3, 10):
        process = started(folder, out, model, nodes.address)

        def seen(done: int = done) -> bool:
            """What a reader finds at any moment under a result's name is the whole of it."""
            found = list((out / "results").glob("*.csv")) if out.exists() else []
            assert all(whole[path.name] == path.read_bytes() for path in found)
            return len(found) >= done

        wait_for(seen, 60)
        process.kill()
        process.wait()
    assert run(folder, out, model, nodes.address) in (1, 3)  # 1: both bad files were quarantined before
    assert_same(sink(out), sink(reference))
    assert suspects(out) == 0


@pytest.mark.scale
def test_a_signal_ends_the_driver_cleanly_and_the_cluster_stays(
    folder: Path, reference: Path, out: Path, model: Path, nodes: Nodes
) -> None:
    process = started(folder, out, model, nodes.address)
    wait_for(lambda: results(out) >= 2, 60)
    process.terminate()
    assert process.wait(20) == 130
    assert suspects(out) == 0
    wait_for(lambda: not nodes.busy(), 20)
    assert run(folder, out, model, nodes.address) in (1, 3)  # 1: both bad files were quarantined before
    assert_same(sink(out), sink(reference))
    assert all(alive(started.process.pid) for node in nodes.nodes for started in node.all_processes["raylet"])


@pytest.mark.scale
def test_a_file_that_kills_its_scorer_everywhere_is_quarantined_and_the_run_goes_on(
    out: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned = environment({"poison": "abort"})
    (tmp_path / "in").mkdir()
    for i, name in enumerate(("a", "poison", "b", "c")):
        path = tmp_path / "in" / f"{name}.csv"
        path.write_bytes(table(50, i))
        os.utime(path, (i, i))
    for name, value in poisoned.items():
        monkeypatch.setenv(name, value)
    cluster = Nodes(1)
    try:
        argv = command(tmp_path / "in", out, model, cluster.address)
        done = subprocess.run(argv, env=poisoned, check=False, capture_output=True, text=True, timeout=200)
    finally:
        cluster.end()
    assert done.returncode == 3, done.stderr
    assert sink(out).quarantined == {"poison.csv": "crashes_scorer"}
    assert len(sink(out).results) == 3


# --- long files


PARQUET = ["--pattern", "*.parquet"]
STRETCHES = 5


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Parquet file of several row groups, with rows that cannot be read in some of them, and a short one."""
    place = tmp_path_factory.mktemp("long")
    for name, rows in (("long", STRETCHES * reader.BATCH_ROWS - 100), ("short", 500)):
        cells = [list(column) for column in zip(*bad_inputs.cells(rows, rows), strict=True)]
        cells[1][3] = "9999"
        for row in range(7, rows, 3000):
            cells[1][row] = "many"
        columns = dict(zip(bad_inputs.HEADER.split(","), cells, strict=True))
        pq.write_table(pa.table(columns), place / f"{name}.parquet", row_group_size=3000)
    return place


def beginning(monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any], *cpus: int) -> Nodes:
    """A cluster in whose processes files are long from 1,000 rows on."""
    for name, value in environment({"chunks": {"rows": 1000, **fault}}).items():
        monkeypatch.setenv(name, value)
    cluster = Nodes(*cpus)
    for name in ("ANOMVAE_TEST_FAULT", "PYTHONPATH"):
        monkeypatch.delenv(name)
    return cluster


@pytest.mark.scale
def test_a_long_file_in_chunks_gives_the_same_bytes(
    long: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = beginning(monkeypatch, {}, 1)
    try:
        for emit, suffix, more in (("all", "csv", 0), ("flagged", "parquet", 1), ("all", "parquet", 0)):
            if more:
                cluster.nodes.append(cluster.add(more))
            argv = [*PARQUET, "--emit", emit, "--format", suffix]
            assert score(long, tmp_path / f"local-{emit}-{suffix}", model, *argv) == 1
            assert run(long, tmp_path / f"ray-{emit}-{suffix}", model, cluster.address, *argv) == 1
            found = judged(tmp_path / f"ray-{emit}-{suffix}")
            assert found == judged(tmp_path / f"local-{emit}-{suffix}")
            assert sum(b'"rejected": 7' in data or b'"rejected":7' in data for data in found.values()) == 1
    finally:
        cluster.end()


@pytest.mark.scale
def test_a_worker_that_is_killed_over_a_chunk_and_one_over_the_file_lose_nothing(
    long: Path, out: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert score(long, tmp_path / "local", model, *PARQUET) == 1
    cluster = beginning(monkeypatch, {"seconds": 1.0}, 1, 1)
    try:
        process = started(long, out, model, cluster.address, *PARQUET)
        for name in ("chunk", "task"):
            wait_for(lambda name=name: cluster.busy(name), 60)  # type: ignore[misc]
            os.kill(cluster.busy(name)[0], signal.SIGKILL)
        wait_for(lambda: process.poll() is not None, 120)
    finally:
        cluster.end()
    assert process.returncode == 1
    assert judged(out) == judged(tmp_path / "local")
    assert suspects(out) == 0


@pytest.mark.scale
def test_a_file_whose_chunks_kill_everywhere_is_suspected_and_then_judged_by_the_driver(
    long: Path, out: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert score(long, tmp_path / "local", model, *PARQUET) == 1
    cluster = beginning(monkeypatch, {"dies": "long"}, 1)
    try:
        assert run(long, out, model, cluster.address, *PARQUET) == 1
    finally:
        cluster.end()
    assert_same(sink(out), sink(tmp_path / "local"))
    assert len(sink(out).results) == 2


@pytest.mark.scale
def test_a_cluster_that_is_not_there_is_a_fault_of_the_machine(folder: Path, out: Path, model: Path) -> None:
    argv = command(folder, out, model, "127.0.0.1:1")
    done = subprocess.run(argv, env=environment(), check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 74, done.stderr
    assert "no Ray cluster at 127.0.0.1:1" in done.stderr.splitlines()[-1]
    assert suspects(out) == 0


@pytest.mark.scale
def test_a_cluster_whose_only_node_dies_ends_the_run_as_a_fault_of_the_machine(
    folder: Path, out: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.cluster_utils import Cluster

    for name, value in environment(SLOW).items():
        monkeypatch.setenv(name, value)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        argv = command(folder, out, model, str(cluster.address))
        process = subprocess.Popen(argv, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wait_for(lambda: results(out) >= 2, 60)
        for one in cluster.head_node.all_processes["raylet"]:
            os.kill(one.process.pid, signal.SIGKILL)
        said = process.communicate(timeout=100)[1].decode()
    finally:
        cluster.shutdown()
    assert process.returncode == 74, said
    assert said.splitlines()[-1].startswith("anomvae: the Ray node that this run is connected to has died")
    assert suspects(out) == 0

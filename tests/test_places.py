"""Places that are no folders of this machine: an object store in memory, and one behind real HTTP where moto is there."""

import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import anomvae
from anomvae import durable_io
from anomvae.cli import main
from anomvae.cluster import object_store
from anomvae.cluster.ray import task
from anomvae.config import ScoreSettings
from anomvae.errors import EnvironmentFault
from anomvae.workers.delivery import Job
from anomvae.workers.protocol import Answer, Delivery, Done, Failure, Original
from tests.folders import assert_same, score, sink, table

pytestmark = pytest.mark.slow  # runs against an object store

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def store() -> Iterator[Any]:
    """Objects in memory, five good ones and a bad one."""
    system = fsspec.filesystem("memory")
    for i in range(5):
        system.pipe_file(f"/bucket/in/{i}.csv", table(40, i))
    system.pipe_file("/bucket/in/bad.csv", b"%PDF-1.7\n")
    system.pipe_file("/bucket/in/notes.txt", b"not a table")
    system.pipe_file("/bucket/in/deeper/5.csv", table(40, 5))
    yield system
    system.rm("/bucket", recursive=True)


def objects(system: Any, root: str) -> dict[str, bytes]:
    return {path.removeprefix(root + "/"): system.cat_file(path) for path in system.find(root)}


def run(
    state: Path, model: Path, *more: str, source: str = "memory://bucket/in", out: str = "memory://bucket/out"
) -> int:
    return main(["score", source, "-o", out, "--state", str(state), "-m", str(model), "-q", "--settle", "0.05s", *more])


def test_results_in_a_place_are_those_of_a_folder(store: Any, model: Path, tmp_path: Path) -> None:
    assert run(tmp_path / "state", model) == 3
    (tmp_path / "in").mkdir()
    for name in ("0", "1", "2", "3", "4", "bad"):
        (tmp_path / "in" / f"{name}.csv").write_bytes(store.cat_file(f"/bucket/in/{name}.csv"))
    assert score(tmp_path / "in", tmp_path / "out", model) == 3
    expected = sink(tmp_path / "out")
    assert_same(sink(tmp_path / "state" / "out"), expected)
    found = objects(store, "/bucket/out")
    assert {
        name.removeprefix("results/"): data for name, data in found.items() if name.endswith(".csv")
    } == expected.results
    assert len([name for name in found if name.endswith(".manifest.json")]) == 5
    assert len([name for name in found if name.startswith("quarantine/")]) == 1
    assert found["alerts.jsonl"].count(b"\n") == sum(expected.log.values())


def test_only_new_and_changed_objects_are_copied_and_only_new_results_sent(
    store: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(tmp_path, model) == 3
    moved: list[str] = []
    fetch, put = object_store.Place.fetch, object_store.Place.put
    monkeypatch.setattr(object_store.Place, "fetch", lambda self, name, to: (moved.append(name), fetch(self, name, to)))
    monkeypatch.setattr(object_store.Place, "put", lambda self, path, name: (moved.append(name), put(self, path, name)))
    assert run(tmp_path, model) == 0
    assert moved == []
    store.pipe_file("/bucket/in/2.csv", table(30, 77))
    assert run(tmp_path, model, "--recursive") in (0, 1)
    assert moved[:2] == ["2.csv", "deeper/5.csv"]
    assert sum(name.startswith("results/") for name in moved) == 4
    assert len(list((tmp_path / "out" / "results").glob("*.csv"))) == 7


@pytest.mark.parametrize("failing", [1, 2, 3, 7])
def test_a_run_that_is_cut_off_while_sending_is_finished_by_the_next_and_manifests_come_last(
    store: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    put, count = object_store.Place.put, [0]

    def once(self: object_store.Place, source: Path, name: str) -> None:
        count[0] += 1
        if count[0] == failing:
            raise EnvironmentFault("the network is down.")
        put(self, source, name)

    monkeypatch.setattr(object_store.Place, "put", once)
    assert run(tmp_path, model) == 74
    there = set(objects(store, "/bucket/out")) if store.exists("/bucket/out") else set()
    for name in there:
        assert not name.endswith(".manifest.json") or name.replace(".manifest.json", ".csv") in there
    assert run(tmp_path, model) == 0
    found = objects(store, "/bucket/out/results")
    assert found == {path.name: path.read_bytes() for path in (tmp_path / "out" / "results").iterdir()}


def test_a_folder_can_have_its_results_put_in_a_place_and_a_place_its_results_here(
    store: Any, model: Path, tmp_path: Path
) -> None:
    assert run(tmp_path / "state", model, out=str(tmp_path / "here")) == 3
    assert len(sink(tmp_path / "here").results) == 5
    folder = tmp_path / "state" / "incoming"
    assert run(tmp_path / "state2", model, source=str(folder)) == 3
    assert len([name for name in objects(store, "/bucket/out") if name.endswith(".csv")]) == 5


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["memory://bucket/in", "-o", "memory://bucket/out"], "--state"),
        (["memory://bucket/in", "memory://bucket/in2", "--state", "s"], "alone"),
        (["memory://bucket/in/0.csv", "--state", "s"], "is a file"),
        (["nosuch://bucket/in", "--state", "s"], "cannot be used"),
        (["-", "-o", "memory://bucket/out", "--state", "s"], "alone"),
    ],
)
def test_what_cannot_be_done_with_a_place_is_refused(
    store: Any,
    model: Path,
    tmp_path: Path,
    argv: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["score", *argv, "-m", str(model)]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


def test_without_the_extra_a_place_says_what_to_install(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    assert run(tmp_path / "state", model) == 2
    assert "anomvae[scale]" in capsys.readouterr().err


def fetched(model: Path, place: Path, name: str, content: bytes, uri: str = "memory://bucket/in") -> Any:
    """What a node answers that sees no file of the driver's: the answer, and the files that it gives back."""
    job = Job(
        name=name,
        delivery_id="d",
        sha256=hashlib.sha256(content).hexdigest(),
        settings=ScoreSettings(),
        suffix=".csv",
        result=str(place / "1.csv"),
        alerts=str(place / "1.alerts"),
        target=str(place / "d.csv"),
    )
    asked = Delivery(job, str(model), durable_io.sha256(model), os.fsencode(place / "copy"), Original(uri, name))
    message, files = task(msgspec.msgpack.encode(asked), anomvae.__version__, model.read_bytes())
    return msgspec.msgpack.decode(message, type=Answer), [data.tobytes() for data in files]


def test_a_node_without_the_copy_fetches_the_object_and_gives_back_what_a_file_here_would_get(
    store: Any, model: Path, tmp_path: Path
) -> None:
    content = table(40, 3)
    answer, files = fetched(model, tmp_path / "nowhere", "3.csv", content)
    assert isinstance(answer, Done)
    assert answer.delivery
    assert hashlib.sha256(files[0]).hexdigest() == answer.delivery.result_sha256
    assert hashlib.sha256(files[1]).hexdigest() == answer.delivery.alerts_sha256
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "3.csv").write_bytes(content)
    assert score(tmp_path / "in", tmp_path / "out", model) == 1
    assert list(sink(tmp_path / "out").results.values()) == [files[0]]
    assert files[1].count(b"\n") == answer.delivery.summary.flagged > 0


def test_a_node_answers_for_no_content_but_the_ledgers(store: Any, model: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert fetched(model, nowhere, "3.csv", table(40, 4)) == (Failure("model_changed"), [])
    assert fetched(model, nowhere, "9.csv", table(40, 9)) == (Failure("model_changed"), [])
    refused, files = fetched(model, nowhere, "bad.csv", b"%PDF-1.7\n")
    assert isinstance(refused, Failure)
    assert refused.kind == "refused"
    assert files == []
    unusable, files = fetched(model, nowhere, "3.csv", table(40, 3), "nosuch://bucket/in")
    assert isinstance(unusable, Failure)
    assert unusable.kind == "fault"
    assert "nosuch://bucket/in" in unusable.message
    assert not nowhere.exists()


SCORE = "import sys; from anomvae.cli import main; sys.exit(main(sys.argv[1:]))"
FILL = """
import sys, s3fs, pathlib
system = s3fs.S3FileSystem()
system.mkdir("bucket")
for path in pathlib.Path(sys.argv[1]).iterdir():
    system.put_file(str(path), f"bucket/in/{path.name}")
"""
EMPTY = """
import sys, s3fs, pathlib
system = s3fs.S3FileSystem()
for path in system.find("bucket/out"):
    target = pathlib.Path(sys.argv[1]) / path.removeprefix("bucket/out/")
    target.parent.mkdir(parents=True, exist_ok=True)
    system.get_file(path, str(target))
"""


def listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def s3() -> Iterator[dict[str, str]]:
    """The environment of a process that uses an S3 server of this machine."""
    pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", str(port)], stdout=quiet, stderr=quiet)
    names = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    try:
        until = time.monotonic() + 60
        while not listens(port):
            assert time.monotonic() < until
            time.sleep(0.1)
        yield {**os.environ, **names, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    finally:
        server.kill()
        server.wait()


@pytest.mark.scale
def test_an_s3_server_gives_and_takes_the_same_bytes(s3: dict[str, str], model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(3):
        (tmp_path / "in" / f"{i}.csv").write_bytes(table(40, i))
    assert score(tmp_path / "in", tmp_path / "out", model) == 1
    subprocess.run([sys.executable, "-c", FILL, str(tmp_path / "in")], env=s3, check=True)
    argv = [
        "score",
        "s3://bucket/in",
        "-o",
        "s3://bucket/out",
        "--state",
        str(tmp_path / "state"),
        "-m",
        str(model),
        "-q",
    ]
    for code in (1, 0):
        done = subprocess.run([sys.executable, "-c", SCORE, *argv], env=s3, check=False, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
    subprocess.run([sys.executable, "-c", EMPTY, str(tmp_path / "back")], env=s3, check=True)
    expected = sink(tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "back" / "results").glob("*.csv")} == expected.results
    assert (tmp_path / "back" / "alerts.jsonl").read_bytes() == (tmp_path / "out" / "alerts.jsonl").read_bytes()
    missing = [argv[0], "s3://nowhere/in", *argv[2:]]
    done = subprocess.run([sys.executable, "-c", SCORE, *missing], env=s3, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (74, 1)


@pytest.fixture
def blind(s3: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """The address of a cluster whose only node that works does not see `tmp_path / "state"`."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    hide = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(tmp_path / "state")]
    (tmp_path / "state").mkdir(mode=0o700)
    if subprocess.run([*hide, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mounts of its own may be given to a process here")
    cluster = cluster_utils.Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}, shutdown_at_exit=False
    )
    start = ["-c", "from ray.scripts.scripts import main; main()", "start", "--num-cpus", "1", "--block"]
    argv = [*hide, sys.executable, *start, "--address", cluster.address]
    quiet = subprocess.DEVNULL
    node = subprocess.Popen(argv, env=s3, stdout=quiet, stderr=quiet)
    try:
        yield cluster.address
    finally:
        node.terminate()
        node.wait(60)
        cluster.shutdown()


@pytest.mark.scale
def test_nodes_that_see_nothing_of_the_drivers_disk_score_the_objects_of_a_store(
    s3: dict[str, str], blind: str, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    for i in range(4):
        (tmp_path / "in" / f"{i}.csv").write_bytes(table(40, i, wild=i % 2 == 0))
    (tmp_path / "in" / "bad.csv").write_bytes(b"%PDF-1.7\n")
    assert score(tmp_path / "in", tmp_path / "out", model) == 3
    subprocess.run([sys.executable, "-c", FILL, str(tmp_path / "in")], env=s3, check=True)
    argv = ["s3://bucket/in", "-o", "s3://bucket/out", "--state", str(tmp_path / "state"), "-m", str(model), "-q"]
    argv = [sys.executable, "-c", SCORE, "score", *argv, "--settle", "0.1s", "--engine", "ray", "--address", blind]
    for code in (3, 0):
        done = subprocess.run(argv, env=s3, check=False, capture_output=True, text=True, timeout=120)
        assert done.returncode == code, done.stderr
    assert_same(sink(tmp_path / "state" / "out"), sink(tmp_path / "out"))
    subprocess.run([sys.executable, "-c", EMPTY, str(tmp_path / "back")], env=s3, check=True)
    found = {path.name: path.read_bytes() for path in (tmp_path / "back" / "results").glob("*.csv")}
    assert found == sink(tmp_path / "out").results

"""watch and score FOLDER as a user meets them: arrivals, growth, changes, quarantine, locks, signals, health."""

import gzip
import json
import os
import random
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from anomvae.cli import main
from anomvae.records.folder import HealthResult, Manifest, StatusResult
from anomvae.records.results import ScoreResult
from tests import bad_inputs
from tests.folders import FAST, ROOT, Watch, assert_same, environment, ids, lines, score, sink, table

pytestmark = pytest.mark.slow  # runs over folders, most of them processes of their own


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def fill(folder: Path, count: int, rows: int = 20, seed: int = 0) -> None:
    for i in range(count):
        (folder / f"{i:04d}.csv").write_bytes(table(rows, seed + i, wild=i % 5 == 0))


def reference(folder: Path, model: Path, base: Path) -> Any:
    """The sink of a run without faults over a copy of a folder."""
    shutil.copytree(folder, base / "copy", symlinks=True)
    score(base / "copy", base / "reference", model)
    return sink(base / "reference")


def wait_for(condition: Any, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


def results(out: Path) -> int:
    return len(list((out / "results").glob("*.csv"))) if (out / "results").is_dir() else 0


def health(out: Path) -> HealthResult:
    return msgspec.json.decode((out / "health.json").read_bytes(), type=HealthResult)


# --- cron


def test_score_takes_only_what_is_new(folder: Path, out: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(folder, 3)
    assert score(folder, out, model) == 1  # each fifth file has a wild row
    first = sink(out)
    assert (len(first.results), sum(first.rows.values())) == (3, 60)
    capsys.readouterr()
    assert score(folder, out, model) == 0
    assert capsys.readouterr() == ("", "")
    (folder / "later.csv").write_bytes(table(20, 99, wild=False))
    assert score(folder, out, model) == 0
    assert len(sink(out).results) == 4


def test_rows_are_those_of_scoring_the_file_alone(folder: Path, out: Path, model: Path, tmp_path: Path) -> None:
    fill(folder, 1, rows=400)
    score(folder, out, model)
    alone = tmp_path / "alone.csv"
    main(["score", str(folder / "0000.csv"), "-m", str(model), "-o", str(alone), "-q"])
    (result,) = (out / "results").glob("*.csv")
    assert result.read_bytes() == alone.read_bytes()


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_results_come_in_other_formats(folder: Path, out: Path, model: Path, form: str) -> None:
    fill(folder, 1)
    score(folder, out, model, "--format", form, "--emit", "flagged")
    (result,) = (out / "results").glob(f"*.{form}")
    if form == "jsonl":
        assert [json.loads(line)["_av_line"] for line in result.read_text().splitlines()] == [4]
    else:
        import pyarrow.parquet as pq

        assert pq.read_table(result).column("_av_line").to_pylist() == [4]


def test_json_tells_totals_files_and_what_is_left(
    folder: Path, out: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(folder, 2)
    (folder / "bad.csv").write_bytes(b"%PDF-1.4\n")
    with (folder / "open.csv").open("w") as writer:
        writer.write("x\n")
        writer.flush()
        capsys.readouterr()
        assert main(["score", str(folder), "-o", str(out), "-m", str(model), "--json", "--settle", "0.02s"]) == 3
    result = msgspec.json.decode(capsys.readouterr().out, type=ScoreResult)
    assert (result.rows, len(result.files), result.omitted) == (40, 2, 0)
    assert [(one.file, one.code) for one in result.refused] == [("bad.csv", "not_csv")]
    assert [one.file for one in result.left] == ["open.csv"]


def test_exit_codes_follow_fail_on(folder: Path, out: Path, model: Path) -> None:
    (folder / "wild.csv").write_bytes(table(40, 0))
    assert score(folder, out, model, "--fail-on", "never") == 0
    (folder / "wild2.csv").write_bytes(table(40, 1))
    assert score(folder, out, model, "--fail-on", "any") == 1


def test_quiet_runs_say_only_what_matters(
    folder: Path, out: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "good.csv").write_bytes(table(20, 3, wild=False))
    (folder / "bad.csv").write_bytes(b"PK\x03\x04 zip")
    capsys.readouterr()
    score(folder, out, model)
    told = capsys.readouterr()
    assert told.out == ""
    assert [line.split()[1:3] for line in told.err.splitlines()] == [["quarantined", "bad.csv"]]


def test_a_timeout_ends_cleanly_and_the_next_run_goes_on(folder: Path, out: Path, model: Path, tmp_path: Path) -> None:
    fill(folder, 30)
    expected = reference(folder, model, tmp_path)
    assert score(folder, out, model, "--timeout", "0.01s") in (0, 1)
    assert len(sink(out).results) < 30
    db = sqlite3.connect(out / "ledger.sqlite")
    assert db.execute("SELECT count(*) FROM suspect").fetchone() == (0,)  # given up is not crashed
    db.close()
    score(folder, out, model)
    assert_same(sink(out), expected)


# --- growth, and the same name again


def test_a_grown_file_gives_its_new_rows_only(folder: Path, out: Path, model: Path) -> None:
    path = folder / "log.csv"
    whole = table(60, 5).splitlines(keepends=True)
    for upto in (1, 11, 31, 61):
        path.write_bytes(b"".join(whole[:upto]))
        score(folder, out, model)
    found = sink(out)
    numbers = sorted(int(line) for (_, line) in found.rows)
    assert numbers == list(range(2, 62))
    assert len(found.results) == 4
    manifests = [msgspec.json.decode(p.read_bytes(), type=Manifest) for p in (out / "results").glob("*.manifest.json")]
    manifests.sort(key=lambda one: one.generation)
    assert [one.base_rows for one in manifests] == [0, 0, 10, 30]
    assert [one.result.continues for one in manifests] == [False, True, True, True]
    alone = out / "alone.csv"
    main(["score", str(path), "-m", str(model), "-o", str(alone), "-q"])
    rows = [line for name in [one.result_name for one in manifests] for line in found.results[name].splitlines()[1:]]
    assert rows == alone.read_bytes().splitlines()[1:]


def test_growth_after_quoted_lines_marks_and_carriage_returns_keeps_its_line_numbers(
    folder: Path, out: Path, model: Path
) -> None:
    path = folder / "log.csv"
    lines = table(20, 6, wild=False).decode().splitlines()
    lines[4] = lines[4].replace("DE", '"D\nE"').replace("FR", '"F\nR"').replace("NA", '"N\nA"')
    head, tail = "\r\n".join(lines[:10]) + "\r\n", "\r\n".join(lines[10:]) + "\r\n"
    path.write_bytes(b"\xef\xbb\xbf" + head.encode())
    score(folder, out, model)
    path.write_bytes(b"\xef\xbb\xbf" + (head + tail).encode())
    score(folder, out, model)
    numbers = sorted(int(line) for (_, line) in sink(out).rows)
    assert numbers == [2, 3, 4, 5, *range(7, 23)]


@pytest.mark.parametrize("way", ["edited", "shorter", "no line end", "compressed"])
def test_what_is_not_verified_growth_is_a_new_generation(folder: Path, out: Path, model: Path, way: str) -> None:
    name = "log.csv.gz" if way == "compressed" else "log.csv"
    path, old, new = folder / name, table(10, 7), table(10, 7) + b"".join(table(5, 8).splitlines(keepends=True)[1:])
    if way == "no line end":
        old = old[:-1]
    write = (lambda data: path.write_bytes(gzip.compress(data))) if way == "compressed" else path.write_bytes
    write(old)
    score(folder, out, model)
    changed = {"edited": b"x" + new[1:], "shorter": table(5, 7)}.get(way, new)
    if way == "edited":
        changed = new.replace(b"express\n2026", b"express\n2025", 1)
    write(changed)
    score(folder, out, model)
    found = sink(out)
    assert len(found.results) == 2
    generations = [json.loads(p.read_text())["generation"] for p in (out / "results").glob("*.manifest.json")]
    parents = [json.loads(p.read_text())["parent_id"] for p in (out / "results").glob("*.manifest.json")]
    assert (sorted(generations), parents) == ([1, 2], [None, None])
    assert sum(found.rows.values()) == 10 + (5 if way == "shorter" else 15)


def test_the_same_content_again_is_known_whatever_its_times(folder: Path, out: Path, model: Path) -> None:
    path = folder / "a.csv"
    first, second = table(10, 1), table(10, 2)
    for data in (first, second, first, first):
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        os.utime(path, (0, 0))
        score(folder, out, model)
    assert len(sink(out).results) == 2
    (folder / "b.csv").write_bytes(first)
    score(folder, out, model)
    assert len(sink(out).results) == 3


def test_a_change_in_place_with_the_same_size_and_times_is_seen(folder: Path, out: Path, model: Path) -> None:
    path = folder / "a.csv"
    data = table(10, 1, wild=False)
    path.write_bytes(data)
    os.utime(path, ns=(5, 5))
    score(folder, out, model)
    path.write_bytes(data.replace(b"true", b"TRUE", 1))
    os.utime(path, ns=(5, 5))
    score(folder, out, model)
    assert len(sink(out).results) == 2


@pytest.mark.parametrize("way", ["append", "overwrite", "truncate", "replace", "delete"])
def test_a_file_that_changes_while_it_is_read_gives_no_mixture(
    folder: Path, out: Path, model: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    from anomvae.folder.loop import FolderLoop
    from anomvae.table import csv_decode, reader
    from anomvae.workers import delivery

    monkeypatch.setattr(csv_decode, "CHUNK", 2048)
    monkeypatch.setattr(delivery, "CHUNK", 2048)
    monkeypatch.setattr(reader, "BATCH_ROWS", 40)
    old, new = table(300, 1), table(300, 2)
    tick, point = FolderLoop.tick, 0
    for at in range(1, 16):
        path = folder / f"{way}{at}.csv"
        path.write_bytes(old)
        count = 0

        def changing(loop: FolderLoop, path: Path = path, at: int = at) -> None:
            nonlocal count
            count += loop.context.progress.inflight == path.name
            if count == at:
                count = 1000
                change(path, way, new)
            tick(loop)

        monkeypatch.setattr(FolderLoop, "tick", changing)
        score(folder, out, model)
        point += count >= 1000
        monkeypatch.setattr(FolderLoop, "tick", tick)
        score(folder, out, model)
        scored = [p for p in manifests(out) if p.file == path.name]
        final = path.read_bytes() if path.exists() else b""
        assert {one.result.rows for one in scored} <= {300, 600, 100, len(final.splitlines()) - 1, 299}
        if final:
            import hashlib

            assert hashlib.sha256(final).hexdigest() in {one.sha256 for one in scored}
        for one in scored:
            assert one.sha256 in hashes(old, new, final, old + new.split(b"\n", 1)[1])
    assert point >= 10  # the change really came in between
    sink(out)


def change(path: Path, way: str, new: bytes) -> None:
    if way == "append":
        with path.open("ab") as file:
            file.write(new.split(b"\n", 1)[1])
    elif way == "overwrite":
        with path.open("r+b") as file:
            file.write(new)
            file.truncate()
    elif way == "truncate":
        os.truncate(path, path.read_bytes().index(b"\n", 9000) + 1)
    elif way == "replace":
        path.with_suffix(".tmp").write_bytes(new)
        path.with_suffix(".tmp").rename(path)
    else:
        path.unlink()


def hashes(*contents: bytes) -> set[str]:
    import hashlib

    return {hashlib.sha256(data).hexdigest() for data in contents}


def manifests(out: Path) -> list[Manifest]:
    return [msgspec.json.decode(p.read_bytes(), type=Manifest) for p in (out / "results").glob("*.manifest.json")]


# --- bad files


def test_the_whole_catalogue_among_good_files(folder: Path, out: Path, model: Path, tmp_path: Path) -> None:
    good = [f"good{i:03d}.csv" for i in range(20)]
    for i, name in enumerate(good):
        (folder / name).write_bytes(table(20, i, wild=i % 5 == 0))
    expected = reference(folder, model, tmp_path)
    cases = {f"{i:03d}{case.suffix}": case for i, case in enumerate(bad_inputs.CASES)}
    order = list(cases.items())
    random.Random(4).shuffle(order)
    for name, case in order:
        (folder / name).write_bytes(case.data())
    assert score(folder, out, model) == 3
    found = sink(out)
    assert found.quarantined == {name: case.code for name, case in cases.items() if case.state == "refused"}
    scored = {one.file: one.result for one in manifests(out)}
    assert set(scored) == {*good, *(name for name, case in cases.items() if case.state != "refused")}
    assert {name: found.results[name] for name in expected.results} == expected.results
    for path in (out / "quarantine").glob("*.reason.json"):
        reason = json.loads(path.read_text())
        case = cases[reason["file"]]
        assert case.line is None or reason["line"] == case.line, case.number
        assert reason["retry"].startswith("anomvae retry ")
        assert len(reason["excerpt"]) <= 80
        assert reason["excerpt"].isprintable()
    for name, case in cases.items():
        if case.state == "rejected":
            assert [(bad.code, bad.line) for bad in scored[name].rejects] == [(case.code, case.line)]


def test_a_quarantined_file_is_judged_again_when_it_changes_or_on_retry(
    folder: Path, out: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = table(10, 1, wild=False)
    (folder / "a.csv").write_bytes(data.replace(b",", b";"))
    (folder / "b.csv").write_bytes(data.replace(b"amount", b"betrag"))
    assert score(folder, out, model) == 3
    assert score(folder, out, model) == 0
    (folder / "a.csv").write_bytes(data)
    assert score(folder, out, model) == 0
    ((name, _),) = [one for one in ids(out, "quarantined") if one[1] == b"b.csv"]
    assert main(["retry", str(out), name[:8], "-q"]) == 0
    assert not (out / "quarantine" / f"{name}.reason.json").exists()
    assert score(folder, out, model) == 3
    capsys.readouterr()
    for wrong, told in (("zzzz", "no delivery"), (ids(out, "committed")[0][0], "was scored"), ("%", "no delivery")):
        assert main(["retry", str(out), wrong]) == 2
        assert told in capsys.readouterr().err


@pytest.mark.parametrize("how", ["abort", "memory", "bug"])
def test_a_file_that_kills_the_scorer_is_isolated_and_the_others_are_not(
    folder: Path, out: Path, model: Path, how: str
) -> None:
    fill(folder, 3)
    (folder / "poison.csv").write_bytes(table(10, 1))
    os.utime(folder / "poison.csv", (1, 1))  # the oldest: it comes first each time
    starts = 0
    for _ in range(3):
        starts += 1
        process = Watch(folder, out, model, "--idle-exit", "1s", fault={"poison": how})
        process.ended()
        if process.returncode in (0, 1, 3):
            break
    assert starts <= 3
    found = sink(out)
    assert found.quarantined == {"poison.csv": "crashes_scorer"}
    assert len(found.results) == 3


# --- the watcher


def test_files_are_scored_as_they_arrive_in_every_way_of_writing(
    folder: Path, out: Path, model: Path, tmp_path: Path
) -> None:
    process = Watch(folder, out, model)
    wait_for(lambda: (out / "health.json").exists())
    data = table(40, 1)
    (folder / "direct.csv").write_bytes(data)
    (folder / "renamed.csv.part").write_bytes(data)
    (folder / "renamed.csv.part").rename(folder / "renamed.csv")
    (tmp_path / "moved.csv").write_bytes(data)
    shutil.move(tmp_path / "moved.csv", folder / "moved.csv")
    (tmp_path / "copied.csv").write_bytes(data)
    shutil.copy2(tmp_path / "copied.csv", folder / "copied.csv")
    with (folder / "slow.csv").open("wb") as file:
        for at in range(0, len(data), 200):
            file.write(data[at : at + 200])
            file.flush()
            time.sleep(0.02)
        time.sleep(1.2)  # many settle times, and still open
        assert not [one for one in lines_so_far(out) if one.file == "slow.csv"]
        file.write(b"2026-03-01,50.00,300,DE,true\n")
    wait_for(lambda: results(out) == 5)
    code, said, _ = process.end()
    assert code == 0
    files = lines(said, "file")
    assert {one["file"]: one["rows"] for one in files} == {
        **dict.fromkeys(("direct.csv", "renamed.csv", "moved.csv", "copied.csv"), 40),
        "slow.csv": 41,
    }
    assert lines(said, "stopped")[0]["why"] == "SIGTERM"
    assert_same(sink(out), reference(folder, model, tmp_path))


def lines_so_far(out: Path) -> list[Manifest]:
    return manifests(out) if (out / "results").is_dir() else []


def test_a_marker_is_the_only_sign_that_counts_when_asked_for(folder: Path, out: Path, model: Path) -> None:
    process = Watch(folder, out, model, "--ready", "marker:.done")
    (folder / "a.csv").write_bytes(table(10, 1))
    (folder / "b.csv").write_bytes(table(10, 2))
    (folder / "b.csv.done").touch()
    wait_for(lambda: results(out) == 1)
    time.sleep(0.8)
    assert results(out) == 1
    (folder / "a.csv.done").touch()
    wait_for(lambda: results(out) == 2)
    assert process.end()[0] == 0


@pytest.mark.parametrize("how", ["deaf", "dead", "full"])
def test_no_file_is_missed_when_events_fail(folder: Path, out: Path, model: Path, how: str) -> None:
    process = Watch(folder, out, model, fault={"observer": how})
    wait_for(lambda: (out / "health.json").exists())
    fill(folder, 10)
    wait_for(lambda: results(out) == 10)
    time.sleep(0.6)
    fill(folder, 5, seed=100)  # five of them anew
    wait_for(lambda: results(out) == 15)
    code, said, _ = process.end()
    assert code == 0
    (last,) = lines(said, "health")
    assert how == "deaf" or last["watcher"] == "degraded" or last["restarts"] > 0
    assert how != "full" or any("no events" in problem for problem in last["problems"])


def test_a_stopped_process_and_a_flood_miss_nothing(folder: Path, out: Path, model: Path) -> None:
    process = Watch(folder, out, model)
    wait_for(lambda: (out / "health.json").exists())
    process.send_signal(signal.SIGSTOP)
    fill(folder, 300, rows=3)
    process.send_signal(signal.SIGCONT)
    wait_for(lambda: results(out) == 300, 60)
    assert process.end()[0] == 0


def test_a_folder_that_vanishes_comes_back_and_one_that_is_made_anew_is_watched(
    folder: Path, out: Path, model: Path
) -> None:
    fill(folder, 3)
    process = Watch(folder, out, model)
    wait_for(lambda: results(out) == 3)
    folder.rename(folder.with_name("away"))
    time.sleep(0.8)
    folder.with_name("away").rename(folder)
    (folder / "after.csv").write_bytes(table(10, 50))
    wait_for(lambda: results(out) == 4)
    shutil.rmtree(folder)
    folder.mkdir()
    fill(folder, 3)  # known contents, and one that is new
    (folder / "anew.csv").write_bytes(table(10, 51))
    wait_for(lambda: results(out) == 5)
    assert process.end()[0] == 0
    assert len(sink(out).results) == 5


def test_existing_files_can_be_left_alone_at_the_first_start_only(folder: Path, out: Path, model: Path) -> None:
    fill(folder, 3)
    for expected in (1, 2):
        process = Watch(folder, out, model, "--existing", "skip", "--idle-exit", "0.7s")
        if expected == 1:
            wait_for(lambda: (out / "health.json").exists())
            (folder / "new.csv").write_bytes(table(10, 60))
        process.ended()
        assert results(out) == expected
        (folder / "while away.csv").write_bytes(table(10, 61))


def test_the_model_is_reloaded_and_a_bad_one_is_not_used(folder: Path, out: Path, model: Path, tmp_path: Path) -> None:
    mine = tmp_path / "m.anomvae"
    shutil.copy(model, mine)
    process = Watch(folder, out, mine)
    (folder / "a.csv").write_bytes(table(10, 1))
    wait_for(lambda: results(out) == 1)
    (tmp_path / "bad").write_bytes(b"no model")
    (tmp_path / "bad").rename(mine)
    (folder / "b.csv").write_bytes(table(10, 2))
    wait_for(lambda: results(out) == 2)
    (tmp_path / "t.csv").write_text(bad_inputs.text(200, seed=9))
    main(["fit", str(tmp_path / "t.csv"), "-o", str(mine), "--steps", "20", "-q"])
    (folder / "c.csv").write_bytes(table(10, 3))
    wait_for(lambda: results(out) == 3)
    code, said, err = process.end()
    assert code == 0
    used = {one["file"]: one["model_id"] for one in lines(said, "file")}
    assert used["a.csv"] == used["b.csv"] != used["c.csv"]
    assert "stays in use" in err
    assert "was reloaded" in err


def test_files_are_committed_in_the_order_of_their_times(folder: Path, out: Path, model: Path) -> None:
    order = list(range(40))
    random.Random(1).shuffle(order)
    for i in order:
        (folder / f"{i:03d}.csv").write_bytes(table(3, i))
        os.utime(folder / f"{i:03d}.csv", ns=(0, (1000 - i // 2) * 10**9))
    score(folder, out, model)
    names = [path.decode() for _, path in ids(out, "committed")]
    assert names == sorted(names, key=lambda name: (1000 - int(name[:3]) // 2, name))


def test_strange_times_and_names_change_nothing(folder: Path, out: Path, model: Path) -> None:
    names = [b"new\nline.csv", b"\xff\xfe.csv", b"\x1b]0;x\x07.csv", b"-o.csv", b"[red]x.csv", b"A.csv", b"a.csv"]
    for i, name in enumerate(names):
        path = os.path.join(os.fsencode(folder), name)
        with open(path, "wb") as file:
            file.write(table(4, i))
        os.utime(path, (0, 0) if i % 2 else (7.2e9, 7.2e9))
    done = subprocess.run(
        [sys.executable, "-m", "anomvae", "score", str(folder), "-o", str(out), "-m", str(model), "--settle", "0.02s"],
        capture_output=True, env=environment(), check=False,
    )  # fmt: skip
    assert len(sink(out).results) == len(names)
    printed = done.stdout + done.stderr
    assert b"\x1b" not in printed
    assert b"\xff" not in printed
    assert len(printed.splitlines()) == len(names) + 2, printed.decode()


# --- locks, signals, modes


def test_one_instance_a_folder(folder: Path, out: Path, model: Path, tmp_path: Path) -> None:
    process = Watch(folder, out, model)
    wait_for(lambda: (out / "health.json").exists())
    others = [Watch(folder, other, model) for other in [out] * 4 + [tmp_path / "elsewhere"] * 2]
    for other in others:
        code, _, err = other.ended()
        assert code == 75
        assert "another anomvae" in err
    assert score(folder, out, model) == 75
    process.kill()
    process.ended()
    assert score(folder, out, model) == 0


def test_a_second_run_waits_for_nobody_when_many_start_at_once(folder: Path, out: Path, model: Path) -> None:
    starts = [Watch(folder, out, model) for _ in range(8)]
    time.sleep(0.5)
    wait_for(lambda: sum(one.poll() is None for one in starts) == 1, 30)
    (running,) = [one for one in starts if one.poll() is None]
    assert {one.returncode for one in starts if one is not running} == {75}
    assert running.end()[0] == 0
    for one in starts:
        if one is not running:
            one.ended()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_cleanly_at_any_moment(
    folder: Path, out: Path, model: Path, tmp_path: Path, number: int
) -> None:
    fill(folder, 60)
    expected = reference(folder, model, tmp_path)
    rng = random.Random(number)
    for _ in range(6):
        process = Watch(folder, out, model)
        process.started()
        time.sleep(rng.uniform(0.0, 1.0))
        started = time.monotonic()
        process.send_signal(number)
        process.ended()
        assert time.monotonic() - started < 10
        assert process.returncode == (0 if number == signal.SIGTERM else 130)
    score(folder, out, model)
    assert_same(sink(out), expected)


def test_a_user_signal_looks_into_the_folder_now(folder: Path, out: Path, model: Path) -> None:
    process = Watch(folder, out, model, "--rescan", "1h", fault={"observer": "deaf"})
    wait_for(lambda: (out / "health.json").exists())
    time.sleep(0.5)
    (folder / "a.csv").write_bytes(table(5, 1))
    time.sleep(1.0)
    assert results(out) == 0  # no event comes, and the next look is an hour away
    process.send_signal(signal.SIGUSR1)
    wait_for(lambda: results(out) == 1)
    assert process.end()[0] == 0


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_everything_is_private_under_any_umask(folder: Path, out: Path, model: Path, umask: int) -> None:
    fill(folder, 1)
    (folder / "bad.csv").write_bytes(b"%PDF\n")
    process = Watch(folder, out, model, "--idle-exit", "0.5s", umask=umask)
    process.ended()
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [out, *out.rglob("*")]}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


def test_the_input_folder_is_left_as_it_is(folder: Path, out: Path, model: Path) -> None:
    fill(folder, 5)
    (folder / "bad.csv").write_bytes(b"%PDF\n")
    folder.chmod(0o555)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ctime_ns) for path in folder.iterdir()}
    score(folder, out, model)
    folder.chmod(0o755)
    after = {path: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ctime_ns) for path in folder.iterdir()}
    assert before == after


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["{folder}", "-o", "{folder}/out"], "must not lie in each other"),
        (["{folder}", "-o", "{folder}/.."], "must not lie in each other"),
        (["{folder}", "-o", "{open}"], "others may write"),
        (["{folder}/nowhere"], "not a folder"),
        (["{folder}", "--settle", "soon"], "duration"),
        (["{folder}", "--ready", "x"], "marker:"),
        ([], "no folder is named"),
    ],
)
def test_folders_that_cannot_work_are_refused(
    argv: list[str], told: str, folder: Path, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    argv = [word.format(folder=folder, open=tmp_path / "open") for word in argv]
    assert main(["watch", *argv, "-m", str(model), "--idle-exit", "0.1s"]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert len(err.splitlines()) == 1


def test_one_output_folder_serves_one_input_folder(folder: Path, out: Path, model: Path, tmp_path: Path) -> None:
    score(folder, out, model)
    (tmp_path / "other").mkdir()
    assert score(tmp_path / "other", out, model) == 2


def test_folder_flags_do_not_go_with_files(folder: Path, model: Path) -> None:
    fill(folder, 1)
    assert main(["score", str(folder / "0000.csv"), "-m", str(model), "--after", "move"]) == 2


# --- moving, faults of ours, health


def test_judged_files_move_out_of_the_way_and_a_retried_one_comes_back(folder: Path, out: Path, model: Path) -> None:
    fill(folder, 2)
    (folder / "bad $(x).csv").write_bytes(b"%PDF\n")
    assert score(folder, out, model, "--after", "move") == 3
    assert list(folder.iterdir()) == []
    moved = sorted(path.name for path in (out / "done").rglob("*.csv"))
    assert moved == ["0000.csv", "0001.csv"]
    ((name, _),) = ids(out, "quarantined")
    (held,) = (out / "quarantine" / name).iterdir()
    assert (held.name, held.read_bytes()) == ("bad __x_.csv", b"%PDF\n")
    assert main(["retry", str(out), name, "-q"]) == 0
    assert [path.name for path in folder.iterdir()] == ["bad $(x).csv"]
    assert score(folder, out, model, "--after", "move") == 3


def test_a_move_never_takes_newer_content_away(
    folder: Path, out: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anomvae import durable_io

    path = folder / "a.csv"
    path.write_bytes(table(10, 1))

    def replace_before(verb: str, *details: Any) -> None:
        if verb == "move":
            path.with_suffix(".tmp").write_bytes(table(10, 2))
            path.with_suffix(".tmp").rename(path)

    monkeypatch.setattr(durable_io, "hook", replace_before)
    score(folder, out, model, "--after", "move")
    monkeypatch.undo()
    assert path.read_bytes() == table(10, 2)
    score(folder, out, model, "--after", "move")
    assert len(sink(out).results) == 2


def test_a_full_disk_pauses_the_watch_and_blames_no_file(folder: Path, out: Path, model: Path, tmp_path: Path) -> None:
    fill(folder, 6)
    process = Watch(folder, out, model, "--idle-exit", "1.5s", fault={"fail": {"at": 40, "times": 8}})
    code, _, err = process.ended(90)
    assert code == 1, err
    assert "paused" in err
    assert "No space left" in err
    assert_same(sink(out), reference(folder, model, tmp_path))


def test_a_failed_sync_ends_the_process_with_74(folder: Path, out: Path, model: Path, tmp_path: Path) -> None:
    fill(folder, 3)
    process = Watch(folder, out, model, fault={"fail": {"at": 12, "code": 5, "verb": "sync"}})
    code, _, err = process.ended()
    assert code == 74, err
    score(folder, out, model)
    assert_same(sink(out), reference(folder, model, tmp_path))


def test_few_descriptors_are_enough_for_many_files(folder: Path, out: Path, model: Path) -> None:
    import resource

    fill(folder, 100, rows=3)
    process = Watch(
        folder, out, model, "--idle-exit", "1s",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32)),
    )  # fmt: skip
    process.ended()
    assert process.returncode in (0, 1)
    assert len(sink(out).results) == 100


def test_status_tells_the_truth(folder: Path, out: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(out)]) == 2
    fill(folder, 2)
    (folder / "bad.csv").write_bytes(b"%PDF\n")
    process = Watch(folder, out, model)
    wait_for(lambda: results(out) == 2 and list((out / "quarantine").iterdir()))
    assert status(out, capsys)[:2] == (0, ())
    process.send_signal(signal.SIGSTOP)
    wait_for(lambda: status(out, capsys)[0] == 1, 15)
    assert "no sign of life" in status(out, capsys)[1][0]
    process.send_signal(signal.SIGCONT)
    wait_for(lambda: status(out, capsys)[0] == 0, 15)
    process.kill()
    process.ended()
    code, problems, told = status(out, capsys)
    assert (code, "has died" in problems[0]) == (1, True)
    assert (told.files, told.rows, told.quarantined) == (2, 40, 1)
    score(folder, out, model)
    assert status(out, capsys)[0] == 0


def status(out: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, tuple[str, ...], StatusResult]:
    capsys.readouterr()
    code = main(["status", str(out), "--json"])
    told = msgspec.json.decode(capsys.readouterr().out, type=StatusResult)
    return code, told.problems, told


def test_systemd_is_told(folder: Path, out: Path, model: Path, tmp_path: Path) -> None:
    import socket

    address = str(tmp_path / "notify")
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.bind(address)
    server.settimeout(20)
    command = [sys.executable, "-m", "anomvae", "watch", str(folder), "-o", str(out), "-m", str(model), *FAST]
    env = environment(None, NOTIFY_SOCKET=address)
    process = subprocess.Popen([*command, "--idle-exit", "0.5s"], env=env, stdout=-3, stderr=-3, cwd=ROOT)
    said = [server.recv(500).decode() for _ in range(3)]
    process.wait(20)
    server.close()
    assert said[0].startswith("WATCHDOG=1")
    assert said[1:] == ["READY=1", "STOPPING=1"]


@pytest.mark.parametrize(
    "data",
    [b"x" * (100 << 20), table(3, 1) + b'2026-03-01,"' + b"1,2\n" * (12 << 20), b",".join([b"c"] * 200_000) + b"\n"],
    ids=["one long line", "unclosed quote", "200,000 columns"],
)
def test_memory_is_bounded_whatever_the_file(folder: Path, out: Path, model: Path, data: bytes) -> None:
    (folder / "huge.csv").write_bytes(data)
    command = [sys.executable, "-m", "anomvae", "score", str(folder), "-o", str(out), "-m", str(model), "-q"]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *command, "--settle", "0.1s"],
        capture_output=True, text=True, env=environment(), check=True,
    )  # fmt: skip
    code, kibibytes = map(int, done.stdout.split())
    assert (code, kibibytes < 250 * 1024) == (3, True), kibibytes


MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stderr=subprocess.DEVNULL).returncode
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


# --- what cannot be moved, and what is no ledger of ours


def refused_and_moved(folder: Path, out: Path, model: Path) -> str:
    (folder / "bad.csv").write_bytes(b"%PDF-1.7\n")
    assert score(folder, out, model, "--after", "move") == 3
    assert not (folder / "bad.csv").exists()
    return ids(out, "quarantined")[0][0]


def test_retry_takes_nobody_elses_place(
    folder: Path, out: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = refused_and_moved(folder, out, model)
    (folder / "bad.csv").write_bytes(b"mine")
    assert main(["retry", str(out), name, "-q"]) == 2
    assert "another file has the name" in capsys.readouterr().err
    assert (folder / "bad.csv").read_bytes() == b"mine"
    assert ids(out, "quarantined")[0][0] == name
    (folder / "bad.csv").unlink()
    folder.rmdir()
    assert main(["retry", str(out), name, "-q"]) == 2
    assert "is gone" in capsys.readouterr().err
    assert (out / "quarantine" / name / "bad.csv").read_bytes() == b"%PDF-1.7\n"


def test_files_are_not_moved_to_another_file_system(folder: Path, model: Path, tmp_path: Path) -> None:
    shared = Path("/dev/shm")  # noqa: S108 (another file system, where there is one)
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system only")
    with tempfile.TemporaryDirectory(dir=shared) as name:
        (folder / "a.csv").write_bytes(table(5, 1))
        Path(name).chmod(0o700)
        assert main(["score", str(folder), "-o", f"{name}/out", "-m", str(model), "-q", "--after", "move"]) == 2
        assert (folder / "a.csv").exists()


def test_a_database_of_another_program_is_put_aside_not_written_into(folder: Path, out: Path, model: Path) -> None:
    fill(folder, 2)
    assert score(folder, out, model) == 1
    before = sink(out)
    for path in out.glob("ledger.sqlite*"):
        path.unlink()
    db = sqlite3.connect(out / "ledger.sqlite")
    db.executescript("PRAGMA application_id = 77; CREATE TABLE theirs(x); INSERT INTO theirs VALUES (5);")
    db.close()
    (out / "ledger.sqlite").chmod(0o600)
    assert score(folder, out, model) == 0  # rebuilt from the results: nothing is new
    assert sink(out).results == before.results
    (aside,) = (path for path in out.glob("ledger.corrupt-*") if not path.name.endswith(("-wal", "-shm")))
    db = sqlite3.connect(aside)
    kept = db.execute("SELECT x FROM theirs").fetchall()
    db.close()
    assert kept == [(5,)]

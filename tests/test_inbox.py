"""When a file is complete: the settler with a fake clock, the scanner and the probe on real files."""

import os
import socket
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomvae.folder.inbox import Inbox, Rules, opened
from anomvae.folder.scanner import Scan, Scanner, Stat
from anomvae.folder.settle import BLIND, MOST_READY, UNENDED, Probe, Settler, file_system, on_network, probe

FINE = Probe(written=False, ended=True)


def stat(size: int = 10, mtime: int = 1, ino: int = 1) -> Stat:
    return Stat(1, ino, size, mtime, mtime)


def scan(*, complete: bool = True, **files: Stat) -> Scan:
    from collections import Counter

    return Scan({os.fsencode(name): state for name, state in files.items()}, complete, Counter())


def settler(answer: Probe | None = FINE, **options: bool) -> Settler:
    return Settler(2.0, lambda path, stat: False, lambda path: answer, **options)


def names(found: list) -> list[str]:
    return [os.fsdecode(arrival.path) for arrival in found]


def test_a_file_settles_after_two_equal_looks_a_settle_time_apart() -> None:
    one = settler()
    assert names(one.update(0.0, scan(a=stat()))) == []
    assert names(one.update(1.9, scan(a=stat()))) == []
    assert one.next_due() == 2.0
    assert names(one.update(2.0, scan(a=stat()))) == ["a"]


@pytest.mark.parametrize("changed", [stat(11), stat(mtime=2), stat(ino=2), Stat(1, 1, 10, 1, 9)])
def test_any_change_starts_the_time_afresh(changed: Stat) -> None:
    one = settler()
    one.update(0.0, scan(a=stat()))
    assert names(one.update(2.0, scan(a=changed))) == []
    assert names(one.update(3.9, scan(a=changed))) == []
    assert names(one.update(4.0, scan(a=changed))) == ["a"]


def test_a_file_that_is_open_for_writing_waits_however_long() -> None:
    answers = [Probe(True, True)] * 3 + [FINE]
    one = Settler(2.0, lambda path, stat: False, lambda path: answers.pop(0))
    one.update(0.0, scan(a=stat()))
    assert names(one.update(2.0, scan(a=stat()))) == []
    assert one.waiting[b"a"].sentence() == "open by a writer"
    assert names(one.update(60.0, scan(a=stat()))) == []
    assert names(one.update(600.0, scan(a=stat()))) == []
    assert names(one.update(601.0, scan(a=stat()))) == ["a"]


@pytest.mark.parametrize(
    ("answer", "needed"), [(Probe(None, True), 2.0 * BLIND), (Probe(False, False), 2.0 * (1 + UNENDED))]
)
def test_doubt_takes_longer(answer: Probe, needed: float) -> None:
    one = settler(answer)
    one.update(0.0, scan(a=stat()))
    assert names(one.update(2.0, scan(a=stat()))) == []
    assert one.next_due() == needed
    assert names(one.update(needed, scan(a=stat()))) == ["a"]


def test_an_unreadable_file_is_never_offered_and_never_forgotten() -> None:
    one = settler(None)
    one.update(0.0, scan(a=stat()))
    assert names(one.update(2.0, scan(a=stat()))) == []
    assert one.waiting[b"a"].reason == "unreadable"


def test_what_could_not_be_looked_at_is_not_gone() -> None:
    one = settler()
    one.update(0.0, scan(a=stat()))
    one.update(1.0, scan(complete=False))
    assert names(one.update(2.0, scan(a=stat()))) == ["a"]
    one.update(3.0, scan())
    assert (one.waiting, one.vanished) == ({}, 1)


def test_the_oldest_come_first_and_then_by_name() -> None:
    one = settler()
    files = scan(c=stat(mtime=1), b=stat(mtime=2), a=stat(mtime=2), d=stat(mtime=-5))
    one.update(0.0, files)
    assert names(one.update(2.0, files)) == ["d", "c", "a", "b"]


def test_a_marked_file_is_taken_at_once() -> None:
    assert names(settler(Probe(True, False), trusted=True).update(0.0, scan(a=stat()))) == ["a"]


def test_a_held_file_comes_again_at_its_time_or_when_it_changes() -> None:
    one = settler()
    one.update(0.0, scan(a=stat()))
    one.update(2.0, scan(a=stat()))
    one.hold(b"a", "reason", 10.0)
    assert names(one.update(9.0, scan(a=stat()))) == []
    assert names(one.update(10.0, scan(a=stat()))) == ["a"]
    one.hold(b"a", "reason", 100.0)
    one.update(11.0, scan(a=stat(12)))
    assert names(one.update(13.0, scan(a=stat(12)))) == ["a"]


def test_a_writer_is_looked_for_twice_a_second_and_an_unreadable_file_every_ten() -> None:
    written, unreadable, slow = settler(Probe(True, True)), settler(None), settler(None)
    slow.settle = 60.0
    for one, settled in ((written, 2.0), (unreadable, 2.0), (slow, 60.0)):
        one.update(0.0, scan(a=stat()))
        assert names(one.update(settled, scan(a=stat()))) == []
    assert (written.next_due(), unreadable.next_due(), slow.next_due()) == (2.5, 12.0, 120.0)


def test_why_a_file_waits_is_told() -> None:
    unended, blind = settler(Probe(False, False)), settler(Probe(None, True))
    for one in (unended, blind):
        one.update(0.0, scan(a=stat()))
        assert one.waiting[b"a"].reason == "settling"
        one.update(2.0, scan(a=stat()))
    assert unended.waiting[b"a"].sentence() == "its last line has no end"
    assert blind.waiting[b"a"].reason == "settling"


def test_waits_without_an_end_and_without_sight_add_up() -> None:
    one = settler(Probe(None, False))
    one.update(0.0, scan(a=stat()))
    one.update(2.0, scan(a=stat()))
    assert one.next_due() == 2.0 * 3 + 2.0 * 5
    assert names(one.update(15.9, scan(a=stat()))) == []
    (arrival,) = one.update(16.0, scan(a=stat()))
    assert (arrival.path, arrival.stat, arrival.quiet) == (b"a", stat(), 16.0)


def test_stillness_is_counted_from_the_last_change_not_from_the_clock() -> None:
    one = settler(Probe(None, True))
    one.update(100.0, scan(a=stat(), b=stat()))
    assert names(one.update(105.0, scan(a=stat(), b=stat(11)))) == []
    one.update(106.0, scan(a=stat()))  # b was still for a second only
    assert one.vanished == 0
    (arrival,) = one.update(106.5, scan(a=stat()))
    assert arrival.quiet == 6.5


def test_only_a_file_that_had_settled_is_missed_when_it_vanishes() -> None:
    one = settler(None)
    one.update(0.0, scan(a=stat(), b=stat()))
    one.update(1.9, scan(b=stat()))
    assert (one.vanished, set(one.waiting)) == (0, {b"b"})
    one.update(2.0, scan())
    assert (one.vanished, set(one.waiting), one.next_due()) == (1, set(), None)
    one.update(3.0, scan(c=stat()))
    one.update(6.0, scan())
    assert one.vanished == 2


def test_a_scan_tells_how_many_files_it_saw_first() -> None:
    one = settler()
    one.update(0.0, scan(a=stat(), b=stat()))
    assert one.first_seen == 2
    one.update(1.0, scan(a=stat(11), b=stat(), c=stat()))
    assert one.first_seen == 1
    assert (one.waiting[b"a"].seen, one.waiting[b"a"].since) == (0.0, 1.0)
    one.update(1.5, scan(a=stat(11), b=stat(), c=stat()))
    assert one.first_seen == 0


def test_a_judged_state_waits_no_more_until_it_changes() -> None:
    judged = {(b"a", stat())}
    one = Settler(2.0, lambda path, state: (path, state) in judged, lambda path: FINE)
    assert names(one.update(0.0, scan(a=stat()))) == []
    assert (one.waiting, one.first_seen) == ({}, 0)
    one.update(1.0, scan(a=stat(11)))
    assert set(one.waiting) == {b"a"}
    one.update(1.5, scan(a=stat()))
    assert one.waiting == {}
    one.update(2.0, scan(b=stat()))
    one.done(b"b")
    one.done(b"never seen")
    assert one.waiting == {}
    one.hold(b"b", "reason", 9.0)
    assert one.waiting == {}


def test_a_held_file_says_why_and_until_when() -> None:
    one = settler()
    one.update(0.0, scan(a=stat()))
    one.hold(b"a", "later", 7.0)
    assert (one.waiting[b"a"].reason, one.next_due()) == ("later", 7.0)


def test_a_file_that_this_scan_did_not_see_is_not_offered() -> None:
    one = settler()
    one.update(0.0, scan(a=stat(), b=stat()))
    assert names(one.update(2.0, scan(complete=False, b=stat()))) == ["b"]
    assert one.vanished == 0
    assert set(one.waiting) == {b"a", b"b"}


def test_a_flood_is_offered_in_parts_the_oldest_first() -> None:
    one = settler(trusted=True)
    files = {f"{i:05d}": stat(mtime=-i) for i in range(MOST_READY + 7)}
    found = names(one.update(0.0, scan(**files)))
    assert found == sorted(files, reverse=True)[:10_000]


@given(st.lists(st.tuples(st.integers(1, 200), st.integers(0, 2)), min_size=1, max_size=30))
def test_a_file_is_offered_when_it_was_the_same_for_the_settle_time_and_not_before(
    looks: list[tuple[int, int]],
) -> None:
    one, now = settler(), 0.0
    since: float | None = None
    before = -1
    for pause, size in looks:
        now += pause / 64  # seconds that add up without rounding
        if since is None or size != before:
            since = now
        before = size
        offered = names(one.update(now, scan(a=stat(size))))
        assert offered == (["a"] if now - since >= 2.0 else [])
        if offered:
            one.done(b"a")
            since = None


# --- real files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def seen(folder: Path, *patterns: str, **options: object) -> list[str]:
    scanner = Scanner(folder, patterns or ("*.csv",), **options)  # type: ignore[arg-type]
    found = sorted(os.fsdecode(path) for path in scanner.scan().files)
    scanner.close()
    return found


def test_only_regular_files_with_fitting_names_are_candidates(folder: Path) -> None:
    for name in (
        "a.csv",
        ".hidden.csv",
        "~a.csv",
        "_a.csv",
        "a.csv.tmp",
        "a.csv.part",
        "a.txt",
        "b.csv.done",
        "c.csv~",
    ):
        (folder / name).write_text("x\n")
    (folder / "dir.csv").mkdir()
    os.mkfifo(folder / "fifo.csv")
    (folder / "link.csv").symlink_to(folder / "a.csv")
    (folder / "dangling.csv").symlink_to("/nowhere")
    (folder / "out.csv").symlink_to("/etc/passwd")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(folder / "socket.csv"))
    os.link(folder / "a.csv", folder / "hard.csv")
    assert seen(folder) == ["a.csv", "hard.csv"]
    server.close()


def test_folders_inside_count_only_when_asked_for_and_links_never(folder: Path, tmp_path: Path) -> None:
    (folder / "x" / "y").mkdir(parents=True)
    (folder / "x" / "y" / "a.csv").write_text("x\n")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.csv").write_text("x\n")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    assert seen(folder) == []
    assert seen(folder, recursive=True) == ["x/y/a.csv"]


def test_a_marker_makes_a_candidate(folder: Path) -> None:
    for name in ("a.csv", "b.csv", "b.csv.done", "c.csv.done"):
        (folder / name).write_text("x\n")
    assert seen(folder, marker=".done") == ["b.csv"]


def test_names_may_be_any_bytes(folder: Path) -> None:
    for name in (b"\xff\xfe.csv", b"new\nline.csv", b"\x1b[31m.csv", b"-rf.csv", b"[red].csv", b"x" * 251 + b".csv"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_text("x\n")
    assert len(seen(folder)) == 6


def test_a_replaced_folder_is_noticed_and_a_missing_one_is_not_empty(folder: Path) -> None:
    scanner = Scanner(folder, ("*.csv",))
    folder.rename(folder.with_name("away"))
    assert not scanner.scan().complete
    folder.mkdir()
    (folder / "a.csv").write_text("x\n")
    found = scanner.scan()
    assert (found.replaced, found.complete, list(found.files)) == (True, True, [b"a.csv"])
    scanner.close()


def test_a_link_is_not_followed_on_opening(folder: Path) -> None:
    (folder / "a.csv").symlink_to("/etc/passwd")
    scanner = Scanner(folder, ("*.csv",))
    with pytest.raises(OSError, match="symbolic links"):
        scanner.open(b"a.csv")
    scanner.close()


def test_a_writer_is_seen_and_so_is_a_missing_line_end(folder: Path) -> None:
    path = folder / "a.csv"
    with path.open("wb") as writer:
        writer.write(b"a,b\n1,2\n3")
        writer.flush()
        descriptor = os.open(path, os.O_RDONLY)
        while_open = probe(descriptor, b"a.csv")
    assert while_open.written in (True, None)
    assert probe(descriptor, b"a.csv") == Probe(False if while_open.written else None, ended=False)
    assert probe(descriptor, b"a.parquet").ended
    with path.open("ab") as writer:
        writer.write(b",4\n")
    assert probe(descriptor, b"a.csv").ended
    os.close(descriptor)


def test_a_writer_that_comes_during_the_lease_does_not_kill_us(folder: Path) -> None:
    path = folder / "a.csv"
    path.write_text("x\n")
    stop = threading.Event()

    def hammer() -> None:
        while not stop.is_set():
            with path.open("ab"):
                pass

    thread = threading.Thread(target=hammer)
    thread.start()
    descriptor = os.open(path, os.O_RDONLY)
    answers = {probe(descriptor, b"a.csv").written for _ in range(300)}
    stop.set()
    thread.join()
    os.close(descriptor)
    assert answers <= {True, False, None}


def test_network_file_systems_are_told_by_their_mount(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "1 0 8:1 / / rw - ext4 /dev/a rw\n"
        "2 1 0:2 / /mnt/my\\040share rw,relatime shared:1 - nfs4 server:/x rw\n"
        "3 1 0:3 / /mnt/local rw - xfs /dev/b rw\n"
    )
    monkeypatch.setattr("anomvae.folder.settle.MOUNTS", mounts)
    assert (on_network(Path("/mnt/my share/in")), file_system(Path("/mnt/my share/in"))) == (True, "nfs4")
    assert not on_network(Path("/mnt/local/in"))
    assert file_system(Path("/srv")) == "ext4"


def test_one_pass_takes_still_files_and_leaves_growing_ones(folder: Path) -> None:
    (folder / "still.csv").write_text("x\n")
    (folder / "unended.csv").write_text("x")
    growing = (folder / "growing.csv").open("w")
    taken: list[bytes] = []
    rules = Rules(patterns=("*.csv",), settle=0.1, rescan=1.0)
    scanner = opened(folder, rules)
    inbox = Inbox(scanner, rules, lambda path, stat: path in taken)
    for arrival in inbox.once():
        if arrival:
            taken.append(arrival.path)
            inbox.done(arrival.path)
        else:
            growing.write("x\n")
            growing.flush()
    growing.close()
    assert taken == [b"still.csv", b"unended.csv"]
    assert list(inbox.settler.waiting) == [b"growing.csv"]
    inbox.close()
    scanner.close()

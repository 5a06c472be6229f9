"""Outlets against real receivers that work, hang, refuse, redirect, fail or die: nothing lost, nothing scored twice."""

import hashlib
import hmac
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomvae import durable_io
from anomvae.cli import main
from anomvae.config import Config, OutletSettings, build, read_config
from anomvae.folder.ledger import Ledger
from anomvae.folder.outbox import OutboxMessage, OutboxUpdate, Topic
from anomvae.notify import http_outlets, message_text, notifier, prometheus_file, sender
from anomvae.notify.cooldown import Step
from anomvae.notify.http_outlets import Heartbeat, Secret, UndeliveredError, address, post
from anomvae.notify.sender import Sender
from anomvae.records.folder import Counters, HealthResult, Manifest, Message, Messages, Quarantined, StatusResult
from anomvae.records.results import FileResult, Reason, RowResult
from anomvae.report.sanitize import HARMFUL
from tests import faults
from tests.folders import ROOT, Watch, assert_same, environment, score, sink, table
from tests.receivers import Receiver, receiver
from tests.test_folder_report import health
from tests.test_report import HOSTILE

pytestmark = pytest.mark.slow  # receivers that hang, runs that wait for them

TOKEN = "tok-3141592653"  # noqa: S105 (looked for in every output)
KEY = "key-2718281828"


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as server:
        yield server


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short waits, for receivers that let one wait."""
    monkeypatch.setattr(http_outlets, "STEP", 0.3)
    monkeypatch.setattr(http_outlets, "WHOLE", 0.6)


@pytest.fixture
def place(tmp_path: Path, hook: Receiver, monkeypatch: pytest.MonkeyPatch) -> "Place":
    monkeypatch.setenv("HOOK", hook.url(f"/{TOKEN}"))
    monkeypatch.setenv("HOOK_KEY", KEY)
    return Place(tmp_path)


class Place:
    """An input folder, an output folder and a configuration with a webhook."""

    def __init__(self, base: Path) -> None:
        self.base, self.folder, self.out, self.config = base, base / "in", base / "out", base / "anomvae.toml"
        self.folder.mkdir()
        self.outlets('webhook = "env:HOOK"', 'webhook_secret = "env:HOOK_KEY"')

    def outlets(self, *lines: str) -> None:
        self.config.write_text("\n".join(["version = 1", "[outlets]", *lines, ""]))

    def drop(self, name: str, data: bytes) -> None:
        (self.folder / name).write_bytes(data)

    def score(self, model: Path, *more: str) -> int:
        return score(self.folder, self.out, model, "-c", str(self.config), *more)

    def waiting(self) -> Messages:
        ledger = Ledger(self.out / "ledger.sqlite", read_only=True)
        try:
            return ledger.outbox.messages()
        finally:
            ledger.close()


def wild(seed: int) -> bytes:
    return table(20, seed)


def good(seed: int) -> bytes:
    return table(20, seed, wild=False)


# --- what is sent


def test_a_critical_file_is_told_once_and_signed(place: Place, hook: Receiver, model: Path) -> None:
    place.drop("a.csv", wild(1))
    assert place.score(model) == 1
    (request,) = hook.taken
    message = msgspec.json.decode(request.body, type=Message)
    assert (message.kind, message.file, message.rows, message.flagged, message.critical) == ("found", "a.csv", 20, 1, 1)
    assert message.worst[0].line == 4
    assert message.worst[0].reasons[0].startswith("amount 9999.00, expected ")
    assert "line 4: amount 9999.00" in message.text
    stamp = request.headers["x-anomvae-timestamp"]
    assert abs(int(stamp) - time.time()) < 60
    signed = hmac.new(KEY.encode(), f"{stamp}.".encode() + request.body, hashlib.sha256).hexdigest()
    assert request.headers["x-anomvae-signature"] == f"sha256={signed}"
    assert len(request.headers["idempotency-key"]) == 32
    assert place.score(model) == 0
    assert len(hook.requests) == 1


def test_quarantine_is_always_told_and_good_files_never(place: Place, hook: Receiver, model: Path) -> None:
    place.outlets('webhook = "env:HOOK"', 'on = "file"')
    place.drop("a.csv", wild(1))
    place.drop("b.csv", good(5))
    place.drop("c.csv", b"%PDF-1.7\n")
    assert place.score(model) == 3
    (request,) = hook.taken
    told = request.message()
    assert (told["kind"], told["file"], told["reason_code"], told["verdict"]) == (
        "quarantined", "c.csv", "not_csv", "failed",
    )  # fmt: skip
    assert told["delivery_id"] in told["text"]


def test_many_files_of_one_kind_are_one_message_and_the_next_tells_how_many(
    place: Place, hook: Receiver, model: Path
) -> None:
    for i in range(4):
        place.drop(f"{i}.csv", wild(i))
    place.score(model)
    assert [(r.message()["file"], r.message()["more"]) for r in hook.taken] == [("0.csv", 0)]
    db = sqlite3.connect(place.out / "ledger.sqlite")
    db.execute("UPDATE topic SET told = told - 601")
    db.commit()
    db.close()
    place.drop("5.csv", wild(5))
    place.score(model)
    told = hook.taken[-1].message()
    assert (told["file"], told["more"]) == ("5.csv", 3)
    assert "3 more files since 2" in told["text"]
    place.drop("6.csv", good(7))
    place.score(model)
    assert [r.message()["kind"] for r in hook.taken] == ["found", "found", "recovered"]
    place.drop("7.csv", wild(7))
    place.score(model)
    assert [r.message()["kind"] for r in hook.taken] == ["found", "found", "recovered", "found"]


STEPS = st.lists(st.tuples(st.floats(0, 700), st.sampled_from(["a", "b", ""])), max_size=40)


@given(STEPS)
@settings(max_examples=200, deadline=None)
def test_the_cooldown_counts_every_file_and_hides_no_state(steps: list[tuple[float, str]]) -> None:
    topics: Any = {}
    now, last_told, bad, told, trouble_is_open = 0.0, dict[str, float](), 0, 0, False
    for wait, name in steps:
        now += wait
        if name:
            step = notifier.trouble(topics, name, now, 600)
            bad += 1
            if step.send:
                assert now - last_told.get(name, -1e9) >= 600
                last_told[name], trouble_is_open = now, True
                told += 1 + step.more
            assert trouble_is_open  # whoever heard last that all is well has heard of this
        elif (found := notifier.good(topics, now, 600)) is not None:
            step = found
            assert trouble_is_open
            assert now - last_told.get("good", -1e9) >= 600
            told += step.more
            last_told, trouble_is_open = {"good": now}, False
        else:
            continue
        topics = step.topics
    assert told + sum(topic.more for topic in topics.values()) == bad


# --- receivers that fail


@pytest.mark.parametrize("mood", ["hang", "drip", "500", "429", "redirect", "cut", "close"])
def test_what_a_receiver_does_not_take_waits_and_is_sent_later_under_the_same_key(
    place: Place, hook: Receiver, model: Path, short: None, mood: str
) -> None:
    place.drop("a.csv", wild(1))
    place.drop("b.csv", b"%PDF-1.7\n")
    place.drop("c.csv", good(3))
    hook.mood = mood
    began = time.monotonic()
    assert place.score(model) == 3
    assert time.monotonic() - began < 8
    before, first = sink(place.out), {r.headers["idempotency-key"] for r in hook.requests}
    assert (place.waiting().waiting, place.waiting().given_up) == (3, 0)
    assert "webhook: " in place.waiting().error
    hook.mood = "ok"
    assert place.score(model) == 0
    assert_same(sink(place.out), before)
    assert sorted(r.message()["kind"] for r in hook.taken) == ["found", "quarantined", "recovered"]
    assert first <= {r.headers["idempotency-key"] for r in hook.taken}
    assert len({r.headers["idempotency-key"] for r in hook.taken}) == 3
    assert not any(r.path == "/elsewhere" for r in hook.requests)
    assert place.waiting() == Messages()


def test_undelivered_is_exit_5_and_findings_come_first(
    place: Place, hook: Receiver, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place.drop("a.csv", wild(1))
    hook.mood = "500"
    assert place.score(model, "--fail-on", "never") == 5
    assert "webhook: HTTP 500; its messages wait" in capsys.readouterr().err
    assert place.score(model) == 5  # nothing new, and still nobody was told
    place.drop("b.csv", wild(2))
    assert place.score(model) == 1
    assert main(["status", str(place.out), "--json"]) == 1
    status = msgspec.json.decode(capsys.readouterr().out, type=StatusResult)
    assert status.messages.waiting == 1
    assert status.problems == ("messages: 1 unsent (webhook: HTTP 500)",)


def test_a_refusal_is_final_and_told(
    place: Place, hook: Receiver, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place.drop("a.csv", wild(1))
    hook.mood = "404"
    assert place.score(model, "--fail-on", "never") == 5
    assert "1 message given up (webhook: HTTP 404)" in capsys.readouterr().err
    assert place.score(model) == 0
    assert len(hook.requests) == 1
    assert main(["status", str(place.out)]) == 1
    assert "messages: 1 given up (webhook: HTTP 404)" in capsys.readouterr().out


def test_messages_to_an_outlet_that_is_gone_do_not_wait_for_ever(
    place: Place, hook: Receiver, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place.drop("a.csv", wild(1))
    hook.mood = "500"
    place.score(model)
    place.outlets()
    assert place.score(model) == 5
    assert "their outlet is not configured now" in capsys.readouterr().err
    assert place.waiting() == Messages(given_up=1, error="webhook: not configured any more")
    assert place.score(model) == 0


def test_nobody_listens_and_then_somebody_does(
    place: Place, model: Path, monkeypatch: pytest.MonkeyPatch, short: None
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("HOOK", f"http://127.0.0.1:{port}/x")
    place.drop("a.csv", wild(1))
    assert place.score(model, "--fail-on", "never") == 5
    assert place.waiting().error == "webhook: Connection refused"
    with receiver(port) as late:
        assert place.score(model) == 0
        assert [r.message()["file"] for r in late.taken] == ["a.csv"]


def test_a_hanging_receiver_holds_the_end_of_a_run_for_seconds_only(place: Place, hook: Receiver, model: Path) -> None:
    for i in range(3):
        place.drop(f"{i}.csv", wild(i))
    place.outlets('webhook = "env:HOOK"', 'ping = "env:HOOK"')
    hook.mood = "hang"
    began = time.monotonic()
    assert place.score(model) == 1
    assert time.monotonic() - began < 12
    assert len(sink(place.out).results) == 3


def test_watch_ends_in_its_grace_and_retries_while_it_runs(place: Place, hook: Receiver, model: Path) -> None:
    watch = Watch(place.folder, place.out, model, "-c", str(place.config))
    try:
        hook.mood = "500"
        place.drop("a.csv", wild(1))
        while len(hook.requests) < 2:
            time.sleep(0.02)
        hook.mood = "ok"
        hook.wait(1)
        assert len({r.headers["idempotency-key"] for r in hook.requests}) == 1
        while place.waiting().waiting:  # it was taken; now the outbox has to know
            time.sleep(0.02)
        hook.mood = "hang"
        place.drop("b.csv", b"%PDF-1.7\n")
        while place.waiting().waiting == 0:
            time.sleep(0.02)
        began = time.monotonic()
        code, _, _ = watch.end()
    finally:
        watch.kill()
    assert code == 0
    assert time.monotonic() - began < 8
    assert place.waiting().waiting == 1


def test_kill_9_between_commit_and_sending_is_sent_after_the_restart_under_the_same_key(
    place: Place, hook: Receiver, model: Path
) -> None:
    hook.mood = "hang"
    watch = Watch(place.folder, place.out, model, "-c", str(place.config))
    place.drop("a.csv", wild(1))
    while not hook.requests:
        time.sleep(0.02)
    watch.send_signal(signal.SIGKILL)
    assert watch.ended()[0] == -signal.SIGKILL
    before = sink(place.out)
    assert (hook.taken, place.waiting().waiting) == ([], 1)
    hook.mood = "ok"
    assert place.score(model) == 0
    (request,) = hook.taken
    assert request.headers["idempotency-key"] == hook.requests[0].headers["idempotency-key"]
    assert request.body == hook.requests[0].body
    assert_same(sink(place.out), before)


def killed_at(place: Place, model: Path, k: int) -> None:
    """One pass in a forked process that is killed at the k-th change of the disk."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            durable_io.hook = faults.Kill(k)
            place.score(model)
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def test_a_kill_at_every_change_of_the_disk_loses_no_message(
    tmp_path: Path, model: Path, hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", hook.url())
    monkeypatch.setenv("HOOK_KEY", KEY)
    keys: set[str] = set()
    for k in range(4, 80, 3):
        (tmp_path / str(k)).mkdir()
        place = Place(tmp_path / str(k))
        place.drop("a.csv", wild(1))
        place.drop("b.csv", b"%PDF-1.7\n")
        hook.taken.clear()
        killed_at(place, model, k)
        assert place.score(model) in (0, 1, 3)
        assert {r.message()["file"] for r in hook.taken} == {"a.csv", "b.csv"}, k
        keys |= {r.headers["idempotency-key"] for r in hook.taken}
        assert place.waiting() == Messages()
    assert len(keys) == 2  # whenever it was killed


# --- the sender by itself


class Deaf:
    """An outlet that takes nothing until it is told to."""

    def __init__(self, name: str) -> None:
        self.name, self.open, self.got = name, False, list[str]()

    def send(self, letter: OutboxMessage, now: float) -> None:
        if not self.open:
            raise UndeliveredError("deaf")
        self.got.append(letter.key)


def filled(path: Path, outlet: str, count: int, at: float) -> Ledger:
    ledger = Ledger(path)
    letters = tuple(OutboxMessage(outlet, f"{outlet}{i}", "{}") for i in range(count))
    with ledger.outbox._db.transaction():
        ledger.outbox.add(OutboxUpdate(at, letters, {"t": Topic(at)}))
    return ledger


def test_a_message_of_three_days_is_given_up_and_one_to_a_stranger_at_once(tmp_path: Path) -> None:
    path, said = tmp_path / "l.sqlite", list[str]()
    filled(path, "deaf", 2, at=1000.0).close()
    ledger = filled(path, "stranger", 1, at=1000.0)
    now = [1000.0]
    for later, waiting in ((10.0, 2), (sender.AGE, 2), (sender.AGE + 1, 0)):
        now[0] = 1000.0 + later
        one = Sender(path, [Deaf("deaf")], said.append, lambda: now[0])
        one.start()
        one.finish(5)
        assert ledger.outbox.messages().waiting == waiting
    assert ledger.outbox.messages().given_up == 3
    assert [text for text in said if "given up" in text] == [
        "warning: 1 message given up (their outlet is not configured now)",
        "warning: 2 messages given up (they are too old)",
    ]
    now[0] += sender.KEPT + 1
    one = Sender(path, [Deaf("deaf")], said.append, lambda: now[0])
    one.start()
    one.finish(5)
    assert ledger.outbox.messages() == Messages()
    ledger.close()


def test_a_deaf_outlet_holds_up_no_other_and_gets_all_in_order_when_it_hears(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    now = time.time()
    filled(path, "deaf", 30, at=now).close()
    ledger = filled(path, "quick", 30, at=now)
    deaf, quick = Deaf("deaf"), Deaf("quick")
    quick.open = True
    one = Sender(path, [deaf, quick], lambda text: None)
    one.start()
    until = time.monotonic() + 10
    while ledger.outbox.messages().waiting > 30 and time.monotonic() < until:
        time.sleep(0.01)
    assert quick.got == [f"quick{i}" for i in range(30)]
    assert ledger.outbox.messages().waiting == 30
    deaf.open = True
    one.finish(10)
    assert sorted(deaf.got) == sorted(f"deaf{i}" for i in range(30))
    ledger.close()


def test_a_full_disk_stops_the_sender_for_a_moment_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, said = tmp_path / "l.sqlite", list[str]()
    filled(path, "quick", 1, at=time.time()).close()
    quick = Deaf("quick")
    quick.open = True
    monkeypatch.setattr(durable_io, "hook", faults.Fail(1, verb="begin"))
    monkeypatch.setattr(sender, "POLL", 0.01)

    one = Sender(path, [quick], said.append)
    one.start()
    until = time.monotonic() + 10
    ledger = Ledger(path, read_only=True)
    while ledger.outbox.messages().waiting and time.monotonic() < until:
        time.sleep(0.01)
    one.finish(5)
    assert ledger.outbox.messages() == Messages()
    assert quick.got == ["quick0", "quick0"]  # at least once, under one key
    ledger.close()


def test_an_old_ledger_without_an_outbox_can_be_looked_at(tmp_path: Path, place: Place, model: Path) -> None:
    place.drop("a.csv", good(3))
    place.outlets()
    place.score(model)
    db = sqlite3.connect(place.out / "ledger.sqlite")
    db.executescript("DROP TABLE outbox; DROP TABLE topic; DROP TABLE evidence; PRAGMA user_version = 1")
    db.executescript(
        "ALTER TABLE delivery ADD COLUMN generation INTEGER; CREATE TABLE alert(delivery_id TEXT);"
        "ALTER TABLE delivery DROP COLUMN counters"
    )
    db.close()
    assert main(["status", str(place.out), "-q"]) == 0
    place.outlets('webhook = "env:HOOK"')
    place.drop("b.csv", wild(3))
    assert place.score(model) == 1
    assert place.waiting() == Messages()


# --- the other outlets


def test_apprise_carries_the_words(place: Place, hook: Receiver, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("apprise")
    monkeypatch.setenv("CHAT", f"json://localhost:{hook.port}/{TOKEN}?cto=1&rto=1")
    place.outlets('apprise = ["env:CHAT"]')
    place.drop("a.csv", wild(1))
    hook.mood = "500"
    assert place.score(model, "--fail-on", "never") == 5
    assert place.waiting().error == "apprise env:CHAT: the service did not take it"
    hook.mood = "ok"
    assert place.score(model) == 0
    told = hook.taken[-1].message()
    assert told["title"] == "anomvae: a.csv: 1 critical and 1 flagged of 20 rows, verdict ok"
    assert "line 4: amount 9999.00, expected" in told["message"]


def test_without_apprise_one_line_says_what_to_install(
    place: Place, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    monkeypatch.setenv("CHAT", "json://localhost")
    place.outlets('apprise = ["env:CHAT"]')
    assert place.score(model) == 2
    assert capsys.readouterr().err == "anomvae: [outlets] apprise: needs apprise; pip install 'anomvae[alerts]'.\n"
    assert not place.out.exists()


def test_the_heartbeat_begins_ends_and_says_how(place: Place, hook: Receiver, model: Path) -> None:
    place.outlets('ping = "env:HOOK"')
    place.drop("a.csv", good(3))
    assert place.score(model) == 0
    place.drop("b.csv", b"%PDF-1.7\n")
    assert place.score(model) == 3
    assert place.score(place.base / "none.anomvae") == 4
    assert [r.path for r in hook.taken] == [
        f"/{TOKEN}{end}" for end in ("/start", "", "/start", "/3", "/start", "/4")
    ]  # fmt: skip


def test_the_heartbeat_of_a_watch_beats(hook: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_outlets, "EVERY", 0.0)
    monkeypatch.setenv("HOOK", hook.url("/p"))
    with Heartbeat(address("env:HOOK", "ping")) as beating:
        hook.wait(1)
        for count in (2, 3):
            time.sleep(0.05)
            beating.send_if_due()
            hook.wait(count)
    assert [r.path for r in hook.wait(4)] == ["/p/start", "/p", "/p", "/p"]


def prometheus(data: bytes) -> dict[str, tuple[dict[str, str], float]]:
    from prometheus_client.parser import text_string_to_metric_families

    return {
        sample.name: (sample.labels, sample.value)
        for family in text_string_to_metric_families(data.decode())
        for sample in family.samples
    }


def test_figures_go_on_over_runs(place: Place, model: Path) -> None:
    figures = place.base / "a.prom"
    place.outlets(f'metrics = "{figures}"')
    place.drop("a.csv", wild(1))
    place.drop("b.csv", b"%PDF-1.7\n")
    place.score(model)
    place.drop("c.csv", good(3))
    place.score(model)
    found = prometheus(figures.read_bytes())
    labels = {"folder": str(place.folder), "model": str(model)}
    for name, value in {
        "files": 2,
        "quarantined": 1,
        "rows": 40,
        "scored": 40,
        "flagged": 1,
        "critical": 1,
        "rejected": 0,
    }.items():
        assert found[f"anomvae_{name}_total"] == (labels, value)
    assert found["anomvae_backlog_files"] == found["anomvae_outbox_pending"] == (labels, 0)
    assert abs(found["anomvae_last_success_timestamp_seconds"][1] - time.time()) < 60
    assert set(found["anomvae_model_info"][0]) == {"folder", "model", "model_id", "mode", "version"}
    assert figures.stat().st_mode & 0o777 == 0o644
    assert not [path for path in place.base.iterdir() if path.name.endswith(".tmp")]


def test_the_last_success_is_that_of_a_run_that_ended_well(
    place: Place, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = place.base / "a.prom"
    place.outlets(f'metrics = "{figures}"')
    name = "anomvae_last_success_timestamp_seconds"

    def of_a_run(hook: Any) -> float:
        monkeypatch.setattr(durable_io, "hook", hook)
        place.score(model)
        return prometheus(figures.read_bytes())[name][1]

    place.drop("a.csv", good(1))
    well = of_a_run(lambda *change: None)
    assert abs(well - time.time()) < 60
    place.drop("b.csv", good(2))
    time.sleep(1.1)
    assert int(well) <= of_a_run(faults.Fail(1, times=10**6, verb="sync")) <= well
    assert of_a_run(lambda *change: None) >= well + 1


def test_a_folder_for_figures_that_is_not_there_is_told_before_any_work(place: Place, model: Path) -> None:
    place.outlets('metrics = "nowhere/a.prom"')
    assert place.score(model) == 2
    assert not place.out.exists()


@given(st.text(max_size=60) | st.sampled_from(HOSTILE))
@settings(max_examples=100, deadline=None)
def test_hostile_names_are_inert_in_prometheus(text: str) -> None:
    told: HealthResult = health(text, messages=Messages(waiting=3))
    found = prometheus(prometheus_file.exposition(told, Counters(files=7), 5.0))
    labels, files = found["anomvae_files_total"]
    assert files == 7 + told.counters.files
    assert set(labels) == {"folder", "model"}
    assert not {char for char in labels["folder"] if unicodedata_category(char) in HARMFUL}
    assert found["anomvae_outbox_pending"][1] == 3


def unicodedata_category(char: str) -> str:
    import unicodedata

    return unicodedata.category(char)


# --- hostile cells


def manifest(text: str) -> Manifest:
    reason = Reason(column=text, share=1.0, value=text, expected=text, low="", high="", text=f"{text} {text}")
    row = RowResult(
        file=text, line=3, score=1.0, recon=1.0, kl=1.0, p=0.1, estimated=False, severity=50.0, critical=True, reasons=(reason,),
    )  # fmt: skip
    result = FileResult(
        file=text, sha256="0", model_id="m", alpha=0.01, rows=9, scored=9, rejected=0, flagged=1, critical=1, expected_flags=0.1,
        verdict="ok", p_file=0.1, seconds=0.1, outputs=(), worst=(row,) * 7, blame=(), rejects=(), warnings=(),
    )  # fmt: skip
    return Manifest(
        sequence=1, delivery_id="ab" * 16, file=text, path_base64="", generation=1, sha256="0", size=1, move=False, model_id="m",
        version="1", committed_utc="2026-11-25T03:14:40+00:00", parent_id=None, base_rows=0, continues=False, lines=9,
        result_name="r", result_sha256="0", alerts_sha256="0", result=result,
    )  # fmt: skip


def refused(text: str) -> Quarantined:
    return Quarantined(
        sequence=1, delivery_id="ab" * 16, file=text, path_base64="", generation=1, sha256="0", size=1, move=False, model_id="m",
        version="1", committed_utc="2026-11-25T03:14:40+00:00", reason_code="bad", message=text, line=2, column=text,
        offset=None, excerpt=text, retry=f"anomvae retry {text}",
    )  # fmt: skip


ATTACKS = [
    *HOSTILE,
    "<script>alert(1)</script>",
    "=cmd|'/c calc'!A1",
    "@everyone <!channel>",
    "[x](http://evil/)",
    "a\nb\r\n\tc",
    "\ud800",
    "x" * 9999,
]


@given(st.text(max_size=300) | st.sampled_from(ATTACKS))
@settings(max_examples=200, deadline=None)
def test_hostile_cells_are_inert_in_messages(text: str) -> None:
    step = Step(True, {}, more=2, since=0.0)
    for message in (
        message_text.found(manifest(text), text, step),
        message_text.quarantined(refused(text), text, step),
    ):
        body = message_text.as_json(message)
        body.encode()
        assert not set(body) & set("<>&\n\r")
        told = json.loads(body)
        assert msgspec.json.decode(body, type=Message) == message
        assert len(body) < 40_000
        for words in (told["title"], *told["text"].split("\n")):
            assert not [char for char in words if unicodedata_category(char) in HARMFUL]
            assert not set(words) & set("<>@[]`*")
            assert "://" not in words
        assert told["text"].count("\n") == (6 if told["kind"] == "found" else 3)  # ours alone
        assert told["title"].startswith("anomvae: ")


def test_the_page_about_outlets_is_true() -> None:
    blocks = dict(re.findall(r"```(toml|json)\n(.*?)```", (ROOT / "docs" / "outlets.md").read_text(), re.DOTALL))
    message = msgspec.json.decode(blocks["json"], type=Message)
    assert message.more == 7
    assert set(json.loads(blocks["json"])) == {"schema", *Message.__struct_fields__}
    config = build(Config, tomllib.loads(blocks["toml"]), "page")
    assert {name for name in OutletSettings.__struct_fields__ if getattr(config.outlets, name)} == set(
        OutletSettings.__struct_fields__
    )
    assert read_config(ROOT / "configs" / "outlets.toml").outlets.any()


# --- secrets


def test_no_secret_is_in_any_output(
    place: Place, hook: Receiver, model: Path, monkeypatch: pytest.MonkeyPatch, short: None
) -> None:
    """Through good and bad ends, with --debug, in a process of its own."""
    pytest.importorskip("apprise")
    env = environment() | {
        "HOOK": hook.url(f"/{TOKEN}"), "HOOK_KEY": KEY, "PING": hook.url(f"/p/{TOKEN}"),
        "CHAT": f"json://user:{TOKEN}@localhost:{hook.port}/{TOKEN}?cto=1&rto=1",
    }  # fmt: skip
    place.outlets(
        'webhook = "env:HOOK"', 'webhook_secret = "env:HOOK_KEY"', 'ping = "env:PING"', 'apprise = ["env:CHAT"]',
        f'metrics = "{place.base}/a.prom"', 'cooldown = "0.001s"',
    )  # fmt: skip
    said = b""
    command = [sys.executable, "-m", "anomvae", "score", str(place.folder), "-o", str(place.out), "-m", str(model)]
    for i, mood in enumerate(("ok", "500", "404", "redirect", "cut", "close")):
        hook.mood = mood
        place.drop(f"{i}.csv", wild(i))
        more = ["-c", str(place.config), "--settle", "0.02s", "--debug", *(["--json"] if i % 2 else [])]
        done = subprocess.run([*command, *more], env=env, capture_output=True, check=False)
        assert done.returncode == 1, done.stderr
        said += done.stdout + done.stderr
    for env["HOOK"] in (
        f"http://elsewhere.example/{TOKEN}",
        f"https://u:{TOKEN}@h/",
        f"https://h:{TOKEN}/",
        f"ftp://{TOKEN}",
    ):
        done = subprocess.run([*command, "-c", str(place.config), "--debug"], env=env, capture_output=True, check=False)
        assert done.returncode == 2
        said += done.stdout + done.stderr
    assert b"webhook" in said
    written = b"".join(path.read_bytes() for path in place.base.rglob("*") if path.is_file() and path != place.config)
    for secret in (TOKEN, KEY):
        assert secret.encode() not in said
        assert secret.encode() not in written


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (f'webhook = "https://hooks.example/{TOKEN}"', "[outlets] webhook: is a secret; write env:NAME or file:PATH"),
        ('webhook = "env:NOBODY"', "[outlets] webhook: the environment variable NOBODY is not set."),
        ('webhook = "file:nobody"', "[outlets] webhook: nobody cannot be read."),
        ('ping = "env:EMPTY"', "[outlets] ping: env:EMPTY is empty."),
        ('apprise = ["env:BAD"]', "[outlets] apprise: env:BAD is no address that apprise knows."),
        ('cooldown = "soon"', "'soon' is not a duration"),
        ('web_hook = "env:HOOK"', "unknown key 'outlets.web_hook'; did you mean 'webhook'?"),
    ],
)
def test_a_wrong_setting_is_told_in_one_line_before_any_work(
    place: Place, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, told: str
) -> None:
    monkeypatch.setenv("EMPTY", " ")
    monkeypatch.setenv("BAD", f"nonsense {TOKEN}")
    place.outlets(line)
    assert place.score(model) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert TOKEN not in error
    assert not place.out.exists()


def test_a_secret_from_a_file_and_its_repr(tmp_path: Path) -> None:
    (tmp_path / "s").write_text(f"{TOKEN}\n")
    secret = Secret(f"file:{tmp_path}/s", "webhook")
    assert secret.reveal() == TOKEN
    assert TOKEN not in repr(secret)


def test_no_certificate_that_nobody_knows_is_trusted(hook: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", hook.url().replace("http:", "https:"))
    with pytest.raises(UndeliveredError):  # plain HTTP answers a TLS greeting
        post(address("env:HOOK", "webhook"), b"", {})
    assert hook.requests == []


def test_single_files_tell_nobody_and_say_so(
    place: Place, hook: Receiver, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place.drop("a.csv", wild(1))
    assert main(["score", str(place.folder / "a.csv"), "-m", str(model), "-c", str(place.config), "--json"]) == 1
    assert "[outlets] tell of a folder" in capsys.readouterr().err
    assert hook.requests == []

"""The nouns of a watched folder: what became of each delivery, and how the run over them is doing.

Manifests and quarantine reasons are files beside the results; the ledger can be rebuilt from them.
"""

import base64
from typing import Literal

import msgspec

from anomvae.records.results import FileResult, Record, Verdict, Waits


def encode_path(path: bytes) -> str:
    """The bytes of a path as JSON can hold them; `Fact.path` is the inverse."""
    return base64.b64encode(path).decode()


class Fact(Record, frozen=True, kw_only=True):
    """What became of one delivery. `file` is the path below the input folder, printable; `path_base64` its bytes.

    `generation` counts the different contents under this path; `move`: the file leaves the input folder.
    """

    sequence: int
    delivery_id: str
    file: str
    path_base64: str
    generation: int
    sha256: str
    size: int
    move: bool
    model_id: str
    version: str
    committed_utc: str

    def path(self) -> bytes:
        """The path below the input folder, as bytes."""
        return base64.b64decode(self.path_base64)


class Manifest(Fact, frozen=True, kw_only=True, tag_field="schema", tag="anomvae.manifest/1"):
    """Beside every result of a watched folder: all that the ledger knows of it, so that it can be rebuilt.

    A grown file has a `parent_id`, and `base_rows` rows before its first. `continues`: a grown version may continue
    this one after `lines` physical lines; the steps of its counters then go on from `counters`: by column and by
    group the last value, and the recent falls as bits. `alerts_sha256`: of its lines in alerts.jsonl.
    """

    parent_id: str | None
    base_rows: int
    continues: bool
    lines: int
    counters: dict[str, dict[str, tuple[float, int]]] = msgspec.field(default_factory=dict)
    result_name: str
    result_sha256: str
    alerts_sha256: str
    result: FileResult


class Quarantined(Fact, frozen=True, kw_only=True, tag_field="schema", tag="anomvae.quarantined/1"):
    """A delivery that is no table of this schema: why, where, and how to have it judged again."""

    reason_code: str
    message: str
    line: int | None
    column: str | None
    offset: int | None
    excerpt: str
    retry: str


class Line(Record, frozen=True, kw_only=True):
    """One finished delivery in a list of them."""

    delivery_id: str
    at: str
    file: str
    verdict: Verdict
    rows: int
    flagged: int
    critical: int
    told: str


class Counters(Record, frozen=True, kw_only=True):
    """What a run has done since it started."""

    files: int = 0
    quarantined: int = 0
    duplicates: int = 0
    vanished: int = 0
    rows: int = 0
    scored: int = 0
    rejected: int = 0
    flagged: int = 0
    critical: int = 0


class Messages(Record, frozen=True, kw_only=True):
    """Messages that are still to be sent, those that were given up lately, and the newest trouble with either."""

    waiting: int = 0
    given_up: int = 0
    error: str = ""

    def problem(self) -> str:
        """What is wrong with them, empty where nothing is."""
        waiting = f"{self.waiting:,} unsent" if self.waiting and self.error else ""
        given_up = f"{self.given_up:,} given up" if self.given_up else ""
        told = ", ".join(part for part in (waiting, given_up) if part)
        return f"messages: {told} ({self.error})" if told else ""


class HealthResult(Record, frozen=True, kw_only=True, tag_field="schema", tag="anomvae.health/1"):
    """How a run over a folder is doing; `health.json` holds the latest.

    `state` is `running`, `paused` (our own fault: `paused` says which) or `stopped`. `watcher` is `native`, `poll`,
    `degraded` or `off`. `clock` is the monotonic clock of this `boot`. `problems` is empty when all is well. `rates`
    are the flag rates of the newest files.
    """

    folder: str
    out: str
    mode: str
    state: str
    pid: int
    host: str
    boot: str
    clock: float
    started_utc: str
    at_utc: str
    model: str
    model_id: str
    alpha: float
    watcher: str
    restarts: int
    last_scan_seconds: float
    backlog: int
    oldest_wait_seconds: float
    inflight: str
    paused: str
    problems: tuple[str, ...]
    counters: Counters
    waiting: tuple[Waits, ...]
    skipped: dict[str, int]
    recent: tuple[Line, ...]
    rates: tuple[float, ...]
    messages: Messages = Messages()


class StoppedResult(Record, frozen=True, kw_only=True, tag_field="schema", tag="anomvae.stopped/1"):
    """A run over a folder has ended, and why."""

    why: str
    seconds: float
    left: int
    counters: Counters


class Period(Record, frozen=True, kw_only=True):
    """One day or hour of history: `at` is its begin in UTC. `flag_rate` is of scored rows, None where there were none.

    `models` are the ids of those that judged its files, in order.
    """

    at: str
    files: int
    drifted: int
    quarantined: int
    rows: int
    scored: int
    flagged: int
    critical: int
    flag_rate: float | None
    models: tuple[str, ...]


class StatusResult(Record, frozen=True, kw_only=True, tag_field="schema", tag="anomvae.status/1"):
    """Health and history of an output folder, from its health file and its ledger.

    `history` is what `--since` asks for, the oldest first, with the periods in which nothing came.
    """

    out: str
    healthy: bool
    problems: tuple[str, ...]
    health: HealthResult | None
    age_seconds: float | None
    files: int
    rows: int
    scored: int
    rejected: int
    flagged: int
    critical: int
    anomalous: int
    drifted: int
    quarantined: int
    recent: tuple[Line, ...]
    in_quarantine: tuple[Line, ...]
    messages: Messages = Messages()
    history: tuple[Period, ...] = ()


class RetryResult(Record, frozen=True, kw_only=True, tag_field="schema", tag="anomvae.retry/1"):
    """Deliveries that will be judged again by the next run."""

    out: str
    retried: tuple[str, ...]


RECORDS = (Manifest, Quarantined, HealthResult, StoppedResult, StatusResult, RetryResult)


Kind = Literal["found", "quarantined", "recovered"]


class ToldRow(Record, frozen=True, kw_only=True):
    """One of the worst rows of a file, with its reasons in words."""

    line: int
    severity: float
    critical: bool
    reasons: tuple[str, ...]


class Message(Record, frozen=True, kw_only=True, tag_field="schema", tag="anomvae.message/1"):
    """A file that was found wanting, one that was refused, or the first good one after such.

    `title` and `text` say it in words; the rest is the same for programs. `drift` says how rows differ from training.
    `more` files of this kind were judged since `since` without a message of their own (the cooldown).
    """

    kind: Kind
    title: str
    text: str
    folder: str
    file: str
    delivery_id: str
    model_id: str
    at: str
    verdict: Verdict
    rows: int = 0
    scored: int = 0
    rejected: int = 0
    flagged: int = 0
    critical: int = 0
    reason_code: str = ""
    drift: tuple[str, ...] = ()
    worst: tuple[ToldRow, ...] = ()
    more: int = 0
    since: str = ""


MESSAGE_RECORDS = (Message,)

"""What the parts of a run over a folder share: settings, folders, model, states of files, and progress."""

import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import msgspec

from anomvae.config import ScoreSettings, WatchSettings
from anomvae.errors import ModelError
from anomvae.folder.inbox import Inbox
from anomvae.folder.ledger import Ledger
from anomvae.folder.outbox import OutboxUpdate
from anomvae.folder.output_folder import OutputFolder
from anomvae.folder.scanner import Stat
from anomvae.model.detector import Detector
from anomvae.records.folder import Counters, Line, Manifest, Quarantined
from anomvae.records.results import FileResult, Verdict
from anomvae.records.sentences import rejection_sentences
from anomvae.scoring.batch import alpha_of
from anomvae.scoring.summary import Severities

BATCH = 200  # states of duplicates that are written in one transaction
RATES, RECENT = 120, 12  # newest files of which the flag rate, or a line for the screen, is kept
COUNTED = ("rows", "scored", "rejected", "flagged", "critical")

Fact = Manifest | Quarantined


class RunContext(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of one run, made before it begins and never replaced while it goes on.

    Attributes:
        mode: `watch` or `score`. A `watch` waits when the machine fails; a `score` ends.
        inbox, output, model: the input folder, the output folder, and the model.
        settings, watch: what to write, and when and how files are processed.
        seen: the states of files that were processed before.
        progress: what this run has done.
        messages_for: the messages that a processed file causes; they are committed together with it.
        say: called with every processed file, and with notes for the user.
        clock, now: monotonic seconds, and the time of day in UTC.
    """

    mode: str
    inbox: Inbox
    output: OutputFolder
    model: "ReloadingModel"
    settings: ScoreSettings
    watch: WatchSettings
    seen: "SeenStates"
    progress: "Progress"
    messages_for: Callable[[Fact], OutboxUpdate | None]
    say: Callable[[FileResult | Quarantined | str], None]
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    @property
    def patient(self) -> bool:
        """Whether the run waits when the machine fails, instead of ending."""
        return self.mode == "watch"

    def alpha(self) -> float:
        """The false-alarm rate of this run."""
        return alpha_of(self.model.current(), self.settings)


class ReloadingModel:
    """A model file that is loaded again when it changes. Where the new one cannot be used, the old one stays in use.

    Args:
        name: the path of the file.
        load: loads a model file.
        say: called with notes for the user.

    Attributes:
        detector: the detector that was loaded last.
        problem: why the file as it is now cannot be used; empty where it can.
    """

    def __init__(self, name: str, load: Callable[[str], Detector], say: Callable[[str], None]) -> None:
        self.name, self._load, self._say = name, load, say
        self._state = self._file_state()
        self.detector = load(name)
        self.problem = ""

    def current(self) -> Detector:
        """The newest detector that could be loaded."""
        state = self._file_state()
        if state != self._state:
            self._state = state
            try:
                self.detector, self.problem = self._load(self.name), ""
                self._say(f"model {self.name} was reloaded: {self.detector.model_id[:12]}")
            except ModelError as error:
                self.problem = f"the new model cannot be used: {error}"
                self._say(f"{self.problem} The one before stays in use.")
        return self.detector

    def _file_state(self) -> tuple[int, int, int] | None:
        """Inode, time of change and size of the file; None where it is not there."""
        try:
            found = os.stat(self.name)  # noqa: PTH116 (called before every file; Path.stat is slower)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


class SeenStates:
    """For every path of the input folder, the state in which its file was last processed.

    It is kept in memory, as a hash for each path, and loaded from the ledger. A committed file's state is written by
    the commit itself; the states of duplicates are written in batches, since losing some only costs reading those
    files again.

    Args:
        ledger: where the states are stored.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._states = ledger.seen()
        self._version = ledger.version()
        self._unwritten: list[tuple[bytes, Stat]] = []

    def known(self, path: bytes, stat: Stat) -> bool:
        """Whether the file was processed in this state."""
        return self._states.get(path) == hash(tuple(stat))

    def add_committed(self, path: bytes, stat: Stat) -> None:
        """Remember a state that a commit has written."""
        self._states[path] = hash(tuple(stat))

    def add_duplicate(self, path: bytes, stat: Stat) -> None:
        """Remember the state of a file whose content was processed before; it is written later, with others."""
        self.add_committed(path, stat)
        self._unwritten.append((path, stat))
        if len(self._unwritten) >= BATCH:
            self.write()

    def add_all(self, files: Mapping[bytes, Stat]) -> None:
        """Remember, and write, the states of files that are to be left alone."""
        self._ledger.see(files.items())
        self._states = self._ledger.seen()

    def write(self) -> None:
        """Write the states that are in memory alone."""
        if self._unwritten:
            self._ledger.see(self._unwritten)
            self._unwritten = []

    def reload_if_changed(self) -> None:
        """Load the states again where another process has changed the ledger, as `retry` does."""
        if (version := self._ledger.version()) != self._version:
            self._states, self._version = self._ledger.seen(), version

    def forget_absent(self, present: frozenset[bytes]) -> None:
        """Drop paths that are not in the folder any more, once they are the majority."""
        if len(self._states) > 2 * len(present) + 1000:
            gone = [path for path in self._states if path not in present]
            self._ledger.forget(gone)
            for path in gone:
                del self._states[path]


class Progress:
    """What a run has done since it began, and what it is doing now.

    Args:
        started: when it began, by the monotonic clock.
        started_utc: the same as the time of day.

    Attributes:
        counters: sums over all processed files.
        recent: a line for each of the newest files.
        rates: the flag rates of the newest files that have scored rows.
        severities: the severities of all flagged rows, which decide how many are critical over the whole run.
        last_work: when a file was last worked on, by the monotonic clock.
        inflight: the file that is being worked on, for display; empty where there is none.
        paused: the code of the fault of the machine that the run is waiting out; empty where there is none.
    """

    def __init__(self, started: float, started_utc: datetime) -> None:
        self.started, self.started_utc = started, started_utc
        self.last_work = started
        self.counters = Counters()
        self.recent: deque[Line] = deque(maxlen=RECENT)
        self.rates: deque[float] = deque(maxlen=RATES)
        self.severities = Severities()
        self.inflight, self.paused = "", ""

    def count_duplicate(self) -> None:
        """Count a file whose content was processed before."""
        self.counters = msgspec.structs.replace(self.counters, duplicates=self.counters.duplicates + 1)

    def count(self, fact: Fact) -> None:
        """Count a file that was scored, or put in quarantine."""
        done = self.counters
        if isinstance(fact, Quarantined):
            self.counters = msgspec.structs.replace(done, quarantined=done.quarantined + 1)
            self.recent.append(_line(fact, "failed", f"{fact.message} [{fact.reason_code}]"))
            return
        result = fact.result
        sums = {name: getattr(done, name) + getattr(result, name) for name in COUNTED}
        self.counters = msgspec.structs.replace(done, files=done.files + 1, **sums)
        if result.scored:
            self.rates.append(result.flagged / result.scored)
        self.recent.append(_line(fact, result.verdict, _first_reason(result), result))


def _first_reason(result: FileResult) -> str:
    """What is most worth knowing of a scored file: its unreadable rows, its drift, or why its worst row is flagged."""
    if told := rejection_sentences(result.why):
        return told[0]
    if result.drift and result.drift.told:
        return f"drift: {result.drift.told[0]}"
    reasons = result.worst[0].reasons if result.worst else ()
    return reasons[0].text if reasons else ""


def _line(fact: Fact, verdict: Verdict, text: str, result: FileResult | None = None) -> Line:
    """A processed file as a line of a list; `result` where it was scored."""
    return Line(
        delivery_id=fact.delivery_id,
        at=fact.committed_utc,
        file=fact.file,
        verdict=verdict,
        rows=result.rows if result else 0,
        flagged=result.flagged if result else 0,
        critical=result.critical if result else 0,
        told=text,
    )

"""The folders of a run: whether they may be used together, their locks, and which input folder an output belongs to."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

import anomvae
from anomvae.cli import options
from anomvae.cli.options import ScoreRequest
from anomvae.cli.output import Printer, found, note
from anomvae.config import OutletSettings, ScoreSettings, WatchSettings, seconds
from anomvae.errors import UsageError, worst
from anomvae.folder import locks
from anomvae.formats import suffixes
from anomvae.records.folder import Counters, HealthResult, Quarantined, StoppedResult
from anomvae.records.results import FileResult, Waits

if TYPE_CHECKING:
    from anomvae.folder.health import HealthReporter
    from anomvae.folder.inbox import Rules
    from anomvae.folder.output_folder import Store
    from anomvae.folder.run_context import ReloadingModel, RunContext
    from anomvae.folder.scanner import Scanner
    from anomvae.workers.pool import Workers


def check(folder: Path, out: Path, shared: Path | None = None) -> None:
    """Refuse folders that lie in each other, and an output folder on a network file system.

    Args:
        folder: the input folder.
        out: the output folder.
        shared: where the results go instead, with --state; it may be on a network file system.


    Raises:
        UsageError: as above, or the input is no folder.
    """
    from anomvae.folder.settle import file_system, on_network

    if not folder.is_dir():
        raise UsageError(f"{folder}: is not a folder.")
    for place in (out, shared) if shared else (out,):
        if not place.is_dir() and (place.exists() or place.suffix in suffixes()):
            raise UsageError(f"{place}: the results of a folder go to a folder; name one with -o.")
    source, target = folder.resolve(), out.resolve()
    for place in (target, shared.resolve()) if shared else (target,):
        if source == place or source in place.parents or place in source.parents:
            raise UsageError(f"{place}: an output folder and {folder} must not lie in each other; name another.")
    if shared and shared.resolve() == target:
        raise UsageError(f"--state {out}: is the output folder itself; name another.")
    existing = next(place for place in (target, *target.parents) if place.exists())
    if on_network(existing):
        kind = file_system(existing)
        raise UsageError(
            f"{out}: is on a network file system ({kind}), where no ledger is safe; name a local folder with --state."
        )


def rules(watch: WatchSettings) -> "Rules":
    """What counts as a file of the input folder, by the settings."""
    from anomvae.folder.inbox import Rules

    return Rules(
        patterns=watch.pattern,
        settle=seconds(watch.settle, "--settle"),
        rescan=seconds(watch.rescan, "--rescan"),
        recursive=watch.recursive,
        marker=watch.marker(),
        native={"auto": None, "native": True, "poll": False}[watch.observer],
    )


@contextmanager
def opened(folder: Path, rules: "Rules") -> Iterator["Scanner"]:
    """The input folder, open to be scanned.

    Raises:
        UsageError: it cannot be opened.
    """
    from anomvae.folder import inbox

    try:
        scanner = inbox.opened(folder, rules)
    except OSError as error:
        raise UsageError(f"{folder}: this folder cannot be opened ({error.strerror}).") from error
    with closing(scanner):
        yield scanner


@contextmanager
def locked_outputs(folders: Sequence[Path | None]) -> Iterator[None]:
    """Hold the locks of the output folders, so that no other process writes them.

    Raises:
        HeldError: another process holds one.
    """
    with ExitStack() as stack:
        for folder in folders:
            if folder is not None:
                began = datetime.now(UTC).isoformat(timespec="seconds")
                stack.callback(os.close, locks.hold_output(folder, began))
        yield


def claim(store: "Store", folder: Path) -> None:
    """One output folder belongs to one input folder: paths in the ledger are relative to it.

    Raises:
        UsageError: it belongs to another.
    """
    here = str(folder.resolve())
    owner = store.ledger.meta("folder")
    if owner not in (None, here) and Path(str(owner)).is_dir():
        raise UsageError(f"{store.out}: holds the results of {owner}; name another output folder with -o.")
    if owner != here:
        store.ledger.set_meta("folder", here)


DELIVERY = {"score": 5.0, "watch": 2.0}  # seconds that messages get at the end of a run
Said = FileResult | Quarantined | str


class RunPlan(msgspec.Struct, kw_only=True):
    """What one run over a folder was asked for.

    Attributes:
        mode: `watch` or `score`.
        folder: the input folder.
        place: the object store that the folder's files were copied from; None where they were not.
        out: the output folder, with the ledger; with --state, that folder.
        shared: with --state, the folder of the results; else None.
        model: the model file.
        settings, watch, outlets: the settings of the configuration and the options.
        say: called with every processed file and every note for the user.
        show: called with health records for a live screen; None where there is none.
        publish: called with the last health record.
        ready: called when the run is about to process its first file.
        timeout: seconds that the run may take; None for no limit.
    """

    mode: str
    folder: Path
    place: str | None = None
    out: Path
    shared: Path | None = None
    model: str
    settings: ScoreSettings
    watch: WatchSettings
    outlets: OutletSettings = OutletSettings()
    say: Callable[[Said], None] = lambda said: None
    show: Callable[[HealthResult], None] | None = None
    publish: Callable[[HealthResult], None] = lambda health: None
    ready: Callable[[], None] = lambda: None
    timeout: float | None = None


def planned(mode: str, name: str, request: ScoreRequest) -> RunPlan:
    """The plan that flags and configuration make; what is said comes later."""
    config = request.config
    settings = options.overlaid(config.score, request.flags)
    out = Path(request.output or config.out or "anomvae-out")
    return RunPlan(
        mode=mode,
        folder=Path(name),
        out=Path(settings.state or out),
        shared=out if settings.state else None,
        model=options.model_path(request.model, config),
        settings=settings,
        watch=options.overlaid(config.watch, request.flags),
        outlets=config.outlets,
    )


class RunSummary(msgspec.Struct):
    """How a run ended.

    Attributes:
        counters: what it did.
        critical: flagged rows that are critical over all files of the run together.
        code: the exit code.
        why: why it ended, for people.
        left: files that were not processed.
        seconds: how long it took.
        model_id, alpha: the model that was in use at the end.
    """

    counters: Counters
    critical: int
    code: int
    why: str
    left: tuple[Waits, ...]
    seconds: float
    model_id: str
    alpha: float


def run_folder(plan: RunPlan) -> RunSummary:
    """Carry out one run, from the locks to the last health record.

    Raises:
        HeldError: another process works on one of the folders.
        AnomvaeError: the run could not begin, or could not go on.
    """
    os.umask(0o077)
    check(plan.folder, plan.out, plan.shared)
    workers = _workers(plan)
    idle = seconds(plan.watch.idle_exit, "--idle-exit") if plan.watch.idle_exit else None
    from anomvae.notify.notifier import Notifier, check_outlets

    outlets, inbox_rules = check_outlets(plan.outlets), rules(plan.watch)
    with ExitStack() as stack:
        scanner = stack.enter_context(opened(plan.folder, inbox_rules))

        def lock_input() -> None:
            locks.hold(scanner.descriptor, str(plan.folder))

        lock_input()
        stack.enter_context(locked_outputs([plan.shared, plan.out]))
        ping = stack.enter_context(outlets.ping)
        from anomvae.folder.health import HealthReporter, waiting_files
        from anomvae.folder.inbox import Inbox
        from anomvae.folder.loop import FolderLoop
        from anomvae.folder.run_context import Progress, RunContext, SeenStates
        from anomvae.folder.stop import StopConditions

        model, store = _model(plan), _store(plan)
        stack.callback(store.close)
        claim(store, plan.folder)
        notifier = Notifier(outlets, store, str(plan.folder), found, plan.say)
        stack.callback(notifier.close, 0.0)
        seen, codes = SeenStates(store.ledger), {0}
        inbox = Inbox(scanner, inbox_rules, seen.known, lock_input)
        stack.callback(inbox.close)

        def say(said: Said) -> None:
            codes.add(_exit_code_of(said, plan.settings.fail_on))
            plan.say(said)

        context = RunContext(
            mode=plan.mode, inbox=inbox, store=store, model=model, settings=plan.settings, watch=plan.watch, seen=seen,
            progress=Progress(time.monotonic(), datetime.now(UTC)), messages_for=notifier.messages_for, say=say,
        )  # fmt: skip
        reporter = HealthReporter(context, notifier.publish, plan.show)
        stop = StopConditions(context, plan.timeout, idle)
        loop = FolderLoop(context, reporter, stop, workers)
        stack.enter_context(stop.signals())
        number = store.ledger.begin_run(plan.mode, _now(), os.getpid(), anomvae.__version__, model.detector.model_id)
        _skip_existing(context, plan)
        _announce(plan, context, reporter)
        try:
            loop.run(inbox.forever() if plan.mode == "watch" else inbox.once())
        finally:
            locks.notify("STOPPING=1")
            if not notifier.close(DELIVERY[plan.mode]) and plan.mode == "score":
                codes.add(5)
            plan.publish(reporter.publish("stopped"))
        store.ledger.end_run(number, _now())
        notifier.succeeded(time.time())
        ping.code = _exit_code(plan.mode, stop.signal, codes)
        progress, now = context.progress, context.clock()
        return RunSummary(
            progress.counters, progress.severities.critical, ping.code, stop.why, waiting_files(inbox, now, 1000),
            round(now - progress.started, 2), model.detector.model_id, context.alpha(),
        )  # fmt: skip


def _announce(plan: RunPlan, context: "RunContext", reporter: "HealthReporter") -> None:
    """Tell the user, systemd and the health file that the run is about to process files."""
    if plan.mode == "watch":
        context.inbox.listen()
    reporter.beat()
    plan.ready()
    locks.notify("READY=1")


def _exit_code_of(said: Said, fail_on: str) -> int:
    """The exit code that one processed file gives the run."""
    if isinstance(said, Quarantined):
        return 3
    return int(isinstance(said, FileResult) and found(said, fail_on))


def _exit_code(mode: str, signal_number: int, codes: set[int]) -> int:
    """The exit code of a run that was ended by a signal (0 for none), and whose files gave it these codes."""
    if signal_number:
        return 130 if signal_number == signal.SIGINT or mode == "score" else 0
    return worst([*codes])


def _model(plan: RunPlan) -> "ReloadingModel":
    from anomvae.folder.run_context import ReloadingModel
    from anomvae.store import model_file

    model = ReloadingModel(plan.model, partial(model_file.load, generator=False), plan.say)
    if plan.mode == "watch" and model_file.writable_by_others(Path(plan.model)):
        plan.say(f"warning: {plan.model} or its folder can be written by other users, who could replace the model")
    return model


def _store(plan: RunPlan) -> "Store":
    from anomvae.folder.archive import check
    from anomvae.folder.output_folder import Store

    if plan.watch.after == "move":
        check(plan.folder, plan.out)
    store = Store(plan.out, plan.shared)
    for warning in store.warnings:
        plan.say(f"warning: {warning}")
    return store


def _workers(plan: RunPlan) -> "Workers | None":
    """Who scores, where it is not this machine."""
    if plan.settings.engine == "local":
        return None
    if plan.mode != "score":
        raise UsageError("engine ray is for 'score FOLDER'; 'watch' scores on one machine.")
    from anomvae.cluster import RayPool

    return RayPool(plan.settings.address, plan.folder, plan.place)


def stopped(ended: RunSummary) -> StoppedResult:
    """The record that `watch` prints last."""
    return StoppedResult(why=ended.why, seconds=ended.seconds, left=len(ended.left), counters=ended.counters)


def _skip_existing(context: "RunContext", plan: RunPlan) -> None:
    """`--existing skip` holds for a new output folder only: later, files that came while nothing ran must be scored."""
    ledger = context.store.ledger
    if ledger.meta("existing") is None:
        if plan.watch.existing == "skip" and not ledger.ids():
            present = context.inbox.scanner.scan().files
            context.seen.add_all(present)
            plan.say(f"{len(present):,} files that are there already are left alone (--existing skip)")
        ledger.set_meta("existing", plan.watch.existing)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class LinePrinter:
    """Prints one line for each processed file, as text or JSON; when quiet, only what needs attention, on stderr."""

    def __init__(self, settings: ScoreSettings, printer: Printer) -> None:
        self.settings, self.printer = settings, printer

    def __call__(self, said: Said) -> None:
        """Print a processed file or a note."""
        if isinstance(said, str):
            note(f"anomvae: {said}")
        elif self.printer.as_json:
            self.json(said)
        elif not self.printer.quiet:
            self._print(said, stderr=False)
        elif isinstance(said, Quarantined) or found(said, self.settings.fail_on):
            self._print(said, stderr=True)

    def json(self, record: Any) -> None:
        """One object on one line, at once."""
        sys.stdout.write(msgspec.json.encode(record).decode() + "\n")
        sys.stdout.flush()

    def _print(self, said: FileResult | Quarantined, *, stderr: bool) -> None:
        from anomvae.report.folder import delivery_line
        from anomvae.report.terminal import console

        line = delivery_line(said, datetime.now(UTC).strftime("%H:%M:%S"))
        console(stderr=stderr).print(line, soft_wrap=True)

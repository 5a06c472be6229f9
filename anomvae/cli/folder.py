"""One run over a folder, as `watch` and `score FOLDER` ask for it: the plan, the checks of the folders, and the run.

What the run needs is imported when it begins, so that `--help` and wrong options answer at once.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
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
    from anomvae.folder.output_folder import OutputFolder
    from anomvae.folder.run_context import ReloadingModel, RunContext
    from anomvae.folder.scanner import Scanner
    from anomvae.workers.pool import Workers

LAST_MESSAGES = {"score": 5.0, "watch": 2.0}  # seconds that unsent messages get at the end of a run
MOST_LEFT = 1000  # files listed as left for the next run
UNSENT = 5  # exit code of a `score` that leaves messages unsent

Reported = FileResult | Quarantined | str  # what a run reports: a scored file, a refused one, or a note for the user


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
    say: Callable[[Reported], None] = lambda reported: None
    show: Callable[[HealthResult], None] | None = None
    publish: Callable[[HealthResult], None] = lambda health: None
    ready: Callable[[], None] = lambda: None
    timeout: float | None = None


class RunSummary(msgspec.Struct):
    """How a run ended.

    Attributes:
        counters: what it did.
        critical: flagged rows that are critical over all files of the run together.
        code: the exit code.
        why: why it ended, for people.
        left: files that were not processed.
        seconds: how long it took.
        model_id, alpha: the model that was in use at the end, and its false-alarm rate.
    """

    counters: Counters
    critical: int
    code: int
    why: str
    left: tuple[Waits, ...]
    seconds: float
    model_id: str
    alpha: float


def make_plan(mode: str, folder: str, request: ScoreRequest) -> RunPlan:
    """Make the plan of a run from options and configuration; the caller adds where reports go.

    Args:
        mode: `watch` or `score`.
        folder: the input folder.
        request: the options, which lie over the configuration.

    Returns:
        The plan, which reports to nobody yet.
    """
    config = request.config
    settings = options.overlaid(config.score, request.flags)
    out = Path(request.output or config.out or "anomvae-out")
    return RunPlan(
        mode=mode,
        folder=Path(folder),
        out=Path(settings.state or out),
        shared=out if settings.state else None,
        model=options.model_path(request.model, config),
        settings=settings,
        watch=options.overlaid(config.watch, request.flags),
        outlets=config.outlets,
    )


def run_folder(plan: RunPlan) -> RunSummary:
    """Carry out one run, from the locks to the last health record.

    Raises:
        HeldError: another process works on one of the folders.
        AnomvaeError: the run could not begin, or could not go on.
    """
    from anomvae.folder.health import HealthReporter, notify_systemd, waiting_files
    from anomvae.folder.inbox import Inbox
    from anomvae.folder.loop import FolderLoop
    from anomvae.folder.run_context import Progress, RunContext, SeenStates
    from anomvae.folder.stop import StopConditions
    from anomvae.notify.notifier import Notifier, check_outlets

    os.umask(0o077)
    check_folders(plan.folder, plan.out, plan.shared)
    workers = _remote_workers(plan)
    idle = seconds(plan.watch.idle_exit, "--idle-exit") if plan.watch.idle_exit else None
    outlets, rules = check_outlets(plan.outlets), _rules(plan.watch)
    with ExitStack() as stack:
        scanner = stack.enter_context(_open_scanner(plan.folder, rules))

        def lock_input() -> None:
            locks.hold(scanner.descriptor, str(plan.folder))

        lock_input()
        for folder in [plan.shared, plan.out] if plan.shared else [plan.out]:
            stack.callback(os.close, locks.hold_output(folder, _now()))
        heartbeat = stack.enter_context(outlets.heartbeat)
        model, output = _load_model(plan), _open_output(plan)
        stack.callback(output.close)
        _claim(output, plan.folder)
        notifier = Notifier(outlets, output, str(plan.folder), found, plan.say)
        stack.callback(notifier.close, 0.0)
        seen, codes = SeenStates(output.ledger), {0}
        inbox = Inbox(scanner, rules, seen.known, lock_input)
        stack.callback(inbox.close)

        def say(reported: Reported) -> None:
            codes.add(_exit_code_of(reported, plan.settings.fail_on))
            plan.say(reported)

        context = RunContext(
            mode=plan.mode,
            inbox=inbox,
            output=output,
            model=model,
            settings=plan.settings,
            watch=plan.watch,
            seen=seen,
            progress=Progress(time.monotonic(), datetime.now(UTC)),
            messages_for=notifier.messages_for,
            say=say,
        )
        health = HealthReporter(context, notifier.publish, plan.show)
        stop = StopConditions(context, plan.timeout, idle)
        loop = FolderLoop(context, health, stop, workers)
        stack.enter_context(stop.signals())
        number = output.ledger.begin_run(plan.mode, _now(), os.getpid(), anomvae.__version__, model.detector.model_id)
        _skip_existing(context, plan)
        _announce_start(plan, context, health)
        try:
            loop.run(inbox.forever() if plan.mode == "watch" else inbox.once())
        finally:
            notify_systemd("STOPPING=1")
            if not notifier.close(LAST_MESSAGES[plan.mode]) and plan.mode == "score":
                codes.add(UNSENT)
            plan.publish(health.publish("stopped"))
        output.ledger.end_run(number, _now())
        notifier.succeeded(time.time())
        code = _exit_code(plan.mode, stop.signal, codes)
        heartbeat.finished(code)
        return RunSummary(
            counters=context.progress.counters,
            critical=context.progress.severities.critical,
            code=code,
            why=stop.why,
            left=waiting_files(inbox, context.clock(), MOST_LEFT),
            seconds=round(context.clock() - context.progress.started, 2),
            model_id=model.detector.model_id,
            alpha=context.alpha(),
        )


def stopped_record(summary: RunSummary) -> StoppedResult:
    """The record that `watch` prints last."""
    return StoppedResult(why=summary.why, seconds=summary.seconds, left=len(summary.left), counters=summary.counters)


class LinePrinter:
    """Prints one line for each processed file, as text or JSON; when quiet, only what needs attention, on stderr.

    Args:
        settings: what counts as worth attention (`fail_on`).
        printer: how the command prints.
    """

    def __init__(self, settings: ScoreSettings, printer: Printer) -> None:
        self.settings, self.printer = settings, printer

    def __call__(self, reported: Reported) -> None:
        """Print a processed file or a note."""
        if isinstance(reported, str):
            note(f"anomvae: {reported}")
        elif self.printer.as_json:
            self.json(reported)
        elif not self.printer.quiet:
            self._print(reported, stderr=False)
        elif isinstance(reported, Quarantined) or found(reported, self.settings.fail_on):
            self._print(reported, stderr=True)

    def json(self, record: Any) -> None:
        """Print a record as one JSON object on one line, at once."""
        sys.stdout.write(msgspec.json.encode(record).decode() + "\n")
        sys.stdout.flush()

    def _print(self, reported: FileResult | Quarantined, *, stderr: bool) -> None:
        from anomvae.report.folder import delivery_line
        from anomvae.report.tables import console

        line = delivery_line(reported, datetime.now(UTC).strftime("%H:%M:%S"))
        console(stderr=stderr).print(line, soft_wrap=True)


# --- the folders


def check_folders(folder: Path, out: Path, shared: Path | None = None) -> None:
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
    outputs = (out, shared) if shared else (out,)
    for output in outputs:
        if not output.is_dir() and (output.exists() or output.suffix in suffixes()):
            raise UsageError(f"{output}: the results of a folder go to a folder; name one with -o.")
    source, target = folder.resolve(), out.resolve()
    for output in (one.resolve() for one in outputs):
        if source == output or source in output.parents or output in source.parents:
            raise UsageError(f"{output}: an output folder and {folder} must not lie in each other; name another.")
    if shared and shared.resolve() == target:
        raise UsageError(f"--state {out}: is the output folder itself; name another.")
    existing = next(parent for parent in (target, *target.parents) if parent.exists())
    if on_network(existing):
        kind = file_system(existing)
        raise UsageError(
            f"{out}: is on a network file system ({kind}), where no ledger is safe; name a local folder with --state."
        )


def _rules(watch: WatchSettings) -> "Rules":
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
def _open_scanner(folder: Path, rules: "Rules") -> Iterator["Scanner"]:
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


def _open_output(plan: RunPlan) -> "OutputFolder":
    """The output folder, open for writing; what was repaired on opening is reported."""
    from anomvae.folder.archive import check_same_disk
    from anomvae.folder.output_folder import OutputFolder

    if plan.watch.after == "move":
        check_same_disk(plan.folder, plan.out)
    output = OutputFolder(plan.out, plan.shared)
    for warning in output.warnings:
        plan.say(f"warning: {warning}")
    return output


def _claim(output: "OutputFolder", folder: Path) -> None:
    """Note which input folder an output folder belongs to: paths in the ledger are relative to that one.

    Raises:
        UsageError: it belongs to another.
    """
    here = str(folder.resolve())
    owner = output.ledger.meta("folder")
    if owner not in (None, here) and Path(str(owner)).is_dir():
        raise UsageError(f"{output.out}: holds the results of {owner}; name another output folder with -o.")
    if owner != here:
        output.ledger.set_meta("folder", here)


def _skip_existing(context: "RunContext", plan: RunPlan) -> None:
    """Carry out `--existing skip`, in a new output folder only: later, files that came between two runs are scored."""
    ledger = context.output.ledger
    if ledger.meta("existing") is None:
        if plan.watch.existing == "skip" and not ledger.ids():
            present = context.inbox.scanner.scan().files
            context.seen.add_all(present)
            plan.say(f"{len(present):,} files that are there already are left alone (--existing skip)")
        ledger.set_meta("existing", plan.watch.existing)


# --- start, model, workers, exit codes


def _announce_start(plan: RunPlan, context: "RunContext", health: "HealthReporter") -> None:
    """Report to the user, systemd and the health file that the run is about to process files."""
    from anomvae.folder.health import notify_systemd

    if plan.mode == "watch":
        context.inbox.listen()
    health.beat()
    plan.ready()
    notify_systemd("READY=1")


def _load_model(plan: RunPlan) -> "ReloadingModel":
    """The model, which a `watch` loads again when its file changes."""
    from anomvae.folder.run_context import ReloadingModel
    from anomvae.store import model_file

    model = ReloadingModel(plan.model, partial(model_file.load, generator=False), plan.say)
    if plan.mode == "watch" and model_file.writable_by_others(Path(plan.model)):
        plan.say(f"warning: {plan.model} or its folder can be written by other users, who could replace the model")
    return model


def _remote_workers(plan: RunPlan) -> "Workers | None":
    """The workers of a cluster; None where this machine scores."""
    if plan.settings.engine == "local":
        return None
    if plan.mode != "score":
        raise UsageError("engine ray is for 'score FOLDER'; 'watch' scores on one machine.")
    from anomvae.cluster import RayPool

    return RayPool(plan.settings.address, plan.folder, plan.place)


def _exit_code_of(reported: Reported, fail_on: str) -> int:
    """The exit code that one processed file gives the run."""
    if isinstance(reported, Quarantined):
        return 3
    return int(isinstance(reported, FileResult) and found(reported, fail_on))


def _exit_code(mode: str, signal_number: int, codes: set[int]) -> int:
    """The exit code of a run that was ended by a signal (0 for none), and whose files gave it these codes."""
    if signal_number:
        return 130 if signal_number == signal.SIGINT or mode == "score" else 0
    return worst([*codes])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

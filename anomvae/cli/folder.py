"""A run over a folder, for `watch` and `score FOLDER`: locks, signals, and what is told while it goes on."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

import anomvae
from anomvae.cli import options, places
from anomvae.cli.options import ScoreRequest
from anomvae.cli.output import Printer, found, note
from anomvae.deliveries import Counters, HealthResult, Quarantined, StoppedResult
from anomvae.errors import UsageError, worst
from anomvae.results import FileResult, Waits
from anomvae.settings import OutletSettings, ScoreSettings, WatchSettings, seconds
from anomvae.storage import health

if TYPE_CHECKING:
    from anomvae.inbox.inbox import Inbox
    from anomvae.pipeline.model import Reloading
    from anomvae.pipeline.pool import Workers
    from anomvae.pipeline.watch import Run
    from anomvae.storage.store import Store

GRACE = 8.0  # seconds that a file in work gets to finish after SIGTERM
DELIVERY = {"score": 5.0, "watch": 2.0}  # seconds that messages get at the end of a run
Said = FileResult | Quarantined | str


class Plan(msgspec.Struct, kw_only=True):
    """What one run over a folder was asked for.

    With --state, `out` is that folder, and `shared` has the results. `place`: what the folder's files are copies of.
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
    publish: Callable[[HealthResult], None] = lambda told: None
    ready: Callable[[], None] = lambda: None
    timeout: float | None = None


def planned(mode: str, name: str, request: ScoreRequest) -> Plan:
    """The plan that flags and configuration make; what is said comes later."""
    config = request.config
    settings = options.overlaid(config.score, request.flags)
    out = Path(request.output or config.out or "anomvae-out")
    return Plan(
        mode=mode,
        folder=Path(name),
        out=Path(settings.state or out),
        shared=out if settings.state else None,
        model=options.model_path(request.model, config),
        settings=settings,
        watch=options.overlaid(config.watch, request.flags),
        outlets=config.outlets,
    )


class Ended(msgspec.Struct):
    """How a run ended: what it did, rows critical over all of it, the exit code, why it ended, and what it left."""

    counters: Counters
    critical: int
    code: int
    why: str
    left: tuple[Waits, ...]
    seconds: float
    model_id: str
    alpha: float


def run_folder(plan: Plan) -> Ended:
    """Carry out one run, from the locks to the last sign of life.

    Raises:
        HeldError: another instance works on the folder.
        AnomvaeError: the run could not begin, or could not go on.
    """
    os.umask(0o077)
    places.check(plan.folder, plan.out, plan.shared)
    workers = _workers(plan)
    idle = seconds(plan.watch.idle_exit, "--idle-exit") if plan.watch.idle_exit else None
    from anomvae.outlets.desk import Desk

    desk = Desk(plan.outlets, str(plan.folder), found, plan.say)
    with ExitStack() as stack:
        inbox = stack.enter_context(places.opened(plan.folder, plan.watch))
        stack.enter_context(places.held(inbox, plan.folder, [plan.shared, plan.out]))
        pulse = stack.enter_context(desk.pulse)
        from anomvae.pipeline.beat import Beat
        from anomvae.pipeline.watch import Run

        model, store = _model(plan), _store(plan)
        stack.callback(store.close)
        places.claim(store, plan.folder)
        desk.open(store)
        stack.callback(desk.close, 0.0)
        ends = _Ends(plan, idle)
        beat = Beat(
            plan.folder, plan.out, plan.mode, model, datetime.now(UTC),
            show=plan.show, check=ends.check, told=desk.beat,
        )  # fmt: skip
        run = Run(
            inbox, store, model, plan.settings, plan.watch, patient=plan.mode == "watch", workers=workers,
            tell=ends.tell, beat=beat,
        )  # fmt: skip
        inbox.settler.known = run.known
        stack.enter_context(ends.signals(run))
        number = store.ledger.begin_run(plan.mode, _now(), os.getpid(), anomvae.__version__, model.detector.model_id)
        _skip_existing(store, run, plan)
        if plan.mode == "watch":
            inbox.listen()
        beat(run)
        plan.ready()
        health.notify("READY=1")
        try:
            run.go(inbox.forever() if plan.mode == "watch" else inbox.once())
        finally:
            health.notify("STOPPING=1")
            ends.delivered(desk.close(DELIVERY[plan.mode]))
            plan.publish(beat.publish(run, "stopped"))
        store.ledger.end_run(number, _now())
        desk.succeeded(time.time())
        pulse.code = ends.code()
        return Ended(
            run.counters, run.critical(), ends.code(), ends.why, run.waiting(1000), round(run.clock() - run.started, 2),
            model.detector.model_id, run.alpha(),
        )  # fmt: skip


def _model(plan: Plan) -> "Reloading":
    from anomvae.pipeline.model import Reloading
    from anomvae.storage import model_file

    model = Reloading(plan.model, partial(model_file.load, generator=False), plan.say)
    if plan.mode == "watch" and model_file.writable_by_others(Path(plan.model)):
        plan.say(f"warning: {plan.model} or its folder can be written by other users, who could replace the model")
    return model


def _store(plan: Plan) -> "Store":
    from anomvae.pipeline.moves import check
    from anomvae.storage.store import Store

    if plan.watch.after == "move":
        check(plan.folder, plan.out)
    store = Store(plan.out, plan.shared)
    for warning in store.warnings:
        plan.say(f"warning: {warning}")
    return store


def _workers(plan: Plan) -> "Workers | None":
    """Who scores, where it is not this machine."""
    if plan.settings.engine == "local":
        return None
    if plan.mode != "score":
        raise UsageError("engine ray is for 'score FOLDER'; 'watch' scores on one machine.")
    from anomvae.pipeline.engine_ray import RayPool

    return RayPool(plan.settings.address, plan.folder, plan.place)


def stopped(ended: Ended) -> StoppedResult:
    """The last line of a run."""
    return StoppedResult(why=ended.why, seconds=ended.seconds, left=len(ended.left), counters=ended.counters)


class _Ends:
    """What may end a run, and which exit code it has earned."""

    def __init__(self, plan: Plan, idle: float | None) -> None:
        self.plan, self.idle = plan, idle
        self.why = "nothing more to do"
        self.codes = [0]
        self._signal = 0

    def tell(self, said: Said) -> None:
        if isinstance(said, Quarantined):
            self.codes.append(3)
        elif isinstance(said, FileResult) and found(said, self.plan.settings.fail_on):
            self.codes.append(1)
        self.plan.say(said)

    def delivered(self, all_of_it: bool) -> None:
        if self.plan.mode == "score" and not all_of_it:
            self.codes.append(5)

    def check(self, run: "Run") -> None:
        if self._signal and run.drop_at is None:
            run.drop_at = run.clock() + GRACE
        if self.plan.timeout is not None and run.clock() - run.started >= self.plan.timeout and run.drop_at is None:
            self.why, run.drop_at, run.inbox.stop = "--timeout", run.clock(), True
        if self.idle is not None and run.clock() - run.last_work >= self.idle and not _pending(run.inbox):
            self.why, run.inbox.stop = "--idle-exit", True

    def code(self) -> int:
        if self._signal:
            return 130 if self._signal == signal.SIGINT or self.plan.mode == "score" else 0
        return worst(self.codes)

    @contextmanager
    def signals(self, run: "Run") -> Iterator[None]:
        """SIGTERM, SIGINT and SIGHUP end the run, a second one at once; SIGUSR1 looks into the folder now."""

        def end(number: int, frame: Any) -> None:
            if self._signal:
                os._exit(130)
            self._signal, self.why = number, signal.Signals(number).name
            run.inbox.stop = True

        def look(number: int, frame: Any) -> None:
            run.inbox.rescan = True

        wanted = {signal.SIGTERM: end, signal.SIGINT: end, signal.SIGHUP: end, signal.SIGUSR1: look}
        before = {}
        with suppress(ValueError):  # not the main thread: then nobody signals it
            for number, handler in wanted.items():
                if signal.getsignal(number) is not signal.SIG_IGN:
                    before[number] = signal.signal(number, handler)
        try:
            yield
        finally:
            for number, old in before.items():
                signal.signal(number, old)


def _pending(inbox: "Inbox") -> bool:
    return any(waiting.reason != "unreadable" for waiting in inbox.settler.waiting.values())


def _skip_existing(store: Any, run: "Run", plan: Plan) -> None:
    """`--existing skip` holds for a new output folder only: later, what arrived while nobody looked must be scored."""
    if store.ledger.meta("existing") is None:
        if plan.watch.existing == "skip" and not store.ledger.ids():
            plan.say(f"{run.skip_existing():,} files that are there already are left alone (--existing skip)")
        store.ledger.set_meta("existing", plan.watch.existing)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class Plain:
    """Says one line a delivery: text, or JSON; quiet: only what somebody should look at, on stderr."""

    def __init__(self, settings: ScoreSettings, printer: Printer) -> None:
        self.settings, self.printer = settings, printer

    def __call__(self, said: Said) -> None:
        """Say it."""
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

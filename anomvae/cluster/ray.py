"""Score an object of a store on a machine that does not have its copy: fetch it, score it, and return the results.

Nothing of it is seen by anybody before it is whole: it is written in a folder of this attempt alone, and the driver
gives what it is sent its names.
"""

import hashlib
import importlib.util
import os
import resource
import secrets
import signal
import socket
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

import anomvae
from anomvae import durable_io
from anomvae.cluster.object_store import MissingError, Place
from anomvae.errors import DataError, EnvironmentFault, UsageError
from anomvae.model.detector import Detector
from anomvae.scoring.batch import Helpers, Part, Stretch, judged
from anomvae.store import model_file
from anomvae.workers.pool import POLL
from anomvae.workers.process import FOR_THE_PARENT, Ticket, answer_of, answered
from anomvae.workers.protocol import Answer, Delivery, Done, Failure, Original, Task, outcome

Bytes = NDArray[np.uint8]  # of a file; an array goes through Ray's memory without another copy


def fetched(
    task: Delivery, original: Original, detector: Detector, helpers: Helpers
) -> tuple[Answer, tuple[Bytes, ...]]:
    """Carry out a task from the object itself.

    Returns:
        The answer, and the bytes of the result, and of the alerts where there are any. An object that has gone, or has
        another content by now, is answered with `model_changed`: who gave the task has the copy.
    """
    with tempfile.TemporaryDirectory(prefix="anomvae-") as name:
        copy, result, alerts = (Path(name) / part for part in ("input", "result", "alerts"))
        try:
            Place(original.place).fetch(original.name, copy)
            if durable_io.sha256(copy) != task.job.sha256:
                return Failure("model_changed"), ()
        except MissingError:
            return Failure("model_changed"), ()
        except (EnvironmentFault, UsageError) as error:
            return Failure("fault", error.code, f"{socket.gethostname()}: {error}"), ()
        job = msgspec.structs.replace(task.job, result=str(result), alerts=str(alerts))
        with copy.open("rb") as file:
            answer = answered(msgspec.structs.replace(task, job=job), file, detector, helpers)
        written = (result, alerts) if isinstance(answer, Done) and answer.delivery else ()
        return answer, tuple(np.fromfile(path, np.uint8) for path in written if path.exists())


ATTEMPTS = 4  # of a task whose process or node is lost
DEEP = 3  # tasks given away for every CPU, so that none waits for the driver
MOST = 3000
WIDE = 32  # stretches of one file that are under way at most, each of some 10 MB both ways
AGAIN = 5.0  # seconds until a cluster's size is asked for again
CONNECT = 10.0  # seconds
UNSHARED = "unshared"
Reply = tuple[bytes, tuple[Bytes, ...]]  # an answer, and the files that the driver's machine could not be given
INSTALL = "--engine ray needs the extra 'scale': pip install 'anomvae[scale]'."


class RayPool:
    """The CPUs of a Ray cluster as workers; see `pool.Workers`. It connects when the first task is given.

    Args:
        address: `auto`, or HOST:PORT of the cluster's head; None: what RAY_ADDRESS says, or else this machine alone.
        folder: the folder of the tasks' files.
        place: what these files are copies of, if they are.

    Raises:
        UsageError: ray is not installed, or the address has another form.
    """

    def __init__(self, address: str | None, folder: Path, place: str | None = None) -> None:
        if importlib.util.find_spec("ray") is None:
            raise UsageError(INSTALL)
        if address not in (None, "auto") and not (address.partition(":")[0] and address.rpartition(":")[2].isdecimal()):
            raise UsageError(f"--address {address} is neither auto nor HOST:PORT.")
        self.address, self._folder, self._place = address, folder.absolute(), place
        self._ray: Any = None
        self._most, self._asked = 1, 0.0
        self._refs: dict[Ticket, Any] = {}
        self._models: dict[str, Any] = {}

    @property
    def ahead(self) -> int:
        """Tasks that may be given away before the oldest is asked for: nodes come and go, so it is asked again."""
        if self._ray is not None and time.monotonic() >= self._asked:
            cpus = int(self._ray.cluster_resources().get("CPU", 0))
            files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            most = MOST if files == resource.RLIM_INFINITY else min(MOST, files // 2)  # each holds its file open
            self._most, self._asked = max(1, min(DEEP * cpus, most)), time.monotonic() + AGAIN
        return self._most

    def submit(self, task: Task, *descriptors: int) -> Ticket:
        """Give a task to the cluster, which opens its file by path.

        Raises:
            EnvironmentFault: no cluster answers.
        """
        if self._ray is None:
            self._connect()
        ticket = Ticket(task, descriptors)
        if model := self._model(task):
            self._refs[ticket] = self._task.remote(self._message(task), anomvae.__version__, model)
        else:
            ticket.answer = Failure("model_changed")
        return ticket

    def answer(self, ticket: Ticket, tick: Callable[[], None]) -> Answer:
        """Wait for the answer to a task.

        Args:
            ticket: the task.
            tick: called while waiting; it may raise to give up.
        """
        while ticket.answer is None:
            ready, _ = self._ray.wait([self._refs[ticket]], timeout=POLL)
            if ready:
                ticket.answer = self._said(ticket)
            tick()
        return ticket.answer

    def close(self) -> None:
        """Leave the cluster, which ends what is still under way; one that was started here ends."""
        if self._ray is not None:
            for ref in self._refs.values():
                with suppress(Exception):
                    self._ray.cancel(ref, force=True)
            self._ray.shutdown()
        self._refs, self._models, self._ray = {}, {}, None

    def _connect(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        found: Any = ray
        self._probe()
        handlers = {number: signal.getsignal(number) for number in FOR_THE_PARENT}
        try:
            with _faults(self.address or "this machine"):
                found.init(self.address, logging_level="ERROR", log_to_driver=False, include_dashboard=False)
        finally:
            with suppress(ValueError):  # not the main thread: ray could not set them either
                for number, handler in handlers.items():
                    signal.signal(number, handler)
        self._task = _remote(found)
        self._ray = found

    def _probe(self) -> None:
        """Ask whether somebody listens: ray itself would wait for minutes."""
        if self.address and self.address != "auto":
            host, _, port = self.address.rpartition(":")
            with _faults(self.address):
                socket.create_connection((host.strip("[]"), int(port)), CONNECT).close()

    def _message(self, task: Task) -> bytes:
        if isinstance(task, Delivery):
            settings = msgspec.structs.replace(task.job.settings, threads=1)
            job, original = msgspec.structs.replace(task.job, settings=settings), None
            if self._place:
                name = Path(os.fsdecode(task.path)).relative_to(self._folder).as_posix()
                original = Original(self._place, name)
            task = msgspec.structs.replace(task, job=job, original=original)
        return msgspec.msgpack.encode(task)

    def _model(self, task: Task) -> Any:
        """The task's model in the cluster's memory; None where its file holds another one by now."""
        if task.model_id not in self._models:
            data = b""
            with suppress(OSError):
                data = Path(task.model).read_bytes()
            if hashlib.sha256(data).hexdigest() != task.model_id:
                return None
            self._models = {task.model_id: self._ray.put(data)}
        return self._models[task.model_id]

    def _said(self, ticket: Ticket) -> Answer:
        task = ticket.task
        answer, files = _reply(self._ray, self._refs.pop(ticket))
        if files and isinstance(task, Delivery):
            with durable_io.faults(f"{task.job.result}: cannot be written"):
                for path, data in zip((task.job.result, task.job.alerts), files, strict=False):
                    durable_io.create_all(Path(path), data.data)
        gone = isinstance(task, Delivery) and not Path(os.fsdecode(task.path)).exists()
        if isinstance(answer, Failure) and answer.code == UNSHARED and gone:
            return Failure("changed")
        return answer


@contextmanager
def _faults(place: str) -> Iterator[None]:
    """What goes wrong in the block, of many kinds and with messages of many lines, is a fault of the machine."""
    try:
        yield
    except Exception as error:
        told = str(error).strip() or type(error).__name__
        raise EnvironmentFault(f"no Ray cluster at {place}: {told.splitlines()[0][:200]}") from error


def _remote(ray: Any) -> Any:
    return ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1)(task)


def _reply(ray: Any, ref: Any) -> tuple[Answer, tuple[Bytes, ...]]:
    try:
        message, files = ray.get(ref)
    except ray.exceptions.RayError as error:
        return Failure("failed", message=f"its scorer died in the cluster ({type(error).__name__})"), ()
    return msgspec.msgpack.decode(message, type=Answer), files


# --- the task's own side


def task(message: bytes, version: str, model: bytes) -> Reply:
    """Carry out one task, or judge a stretch, in a process of the cluster: MessagePack in, MessagePack out."""
    files: tuple[Bytes, ...] = ()
    answer: Answer
    if version != anomvae.__version__:
        told = f"{socket.gethostname()} has anomvae {anomvae.__version__}, this is {version}: all nodes need the same."
        return msgspec.msgpack.encode(Failure("fault", "versions", told)), files
    asked: Delivery | Stretch = msgspec.msgpack.decode(message, type=Delivery | Stretch)
    try:
        detector = _detector(model)
        if isinstance(asked, Delivery):
            answer, files = _attempt(asked, detector, partial(_side_by_side, model))
        else:
            stretch = asked
            answer = answer_of(lambda: Done(part=judged(stretch, detector)))
    except Exception as error:  # told, not raised: who gave the task decides
        answer = Failure.of(error)
    return msgspec.msgpack.encode(answer), files


def _side_by_side(model: bytes, stretches: Iterator[Stretch]) -> Iterator[Part]:
    """Stretches of this task's file, judged by tasks of their own; while this one waits, others have its CPU."""
    import ray

    given: Any = ray
    part, shared = _remote(given).options(name="stretch"), given.put(model)
    most = min(WIDE, 2 * int(given.cluster_resources().get("CPU", 1)))
    begun: deque[Any] = deque()
    try:
        for one in _until_damaged(stretches):
            damaged = isinstance(one, DataError)
            begun.append(one if damaged else part.remote(msgspec.msgpack.encode(one), anomvae.__version__, shared))
            if len(begun) >= most:
                yield _part(given, begun.popleft())
        while begun:
            yield _part(given, begun.popleft())
    finally:
        for ref in begun:
            if not isinstance(ref, DataError):
                given.cancel(ref)


def _until_damaged(stretches: Iterator[Stretch]) -> Iterator[Stretch | DataError]:
    """Damage is told in its turn: what stands before it in the file may be wanting too."""
    try:
        yield from stretches
    except DataError as error:
        yield error


def _part(ray: Any, begun: Any) -> Part:
    if isinstance(begun, DataError):
        raise begun
    return outcome(_reply(ray, begun)[0], Part)


@lru_cache(maxsize=1)
def _detector(model: bytes) -> Detector:
    return model_file.from_bytes(model, generator=False)


def _attempt(delivery: Delivery, detector: Detector, helpers: Helpers) -> tuple[Answer, tuple[Bytes, ...]]:
    """Score a file under names that no other attempt has; only what is finished gets the task's."""
    try:
        file = _opened(delivery.path)
    except OSError as error:
        if delivery.original:
            return fetched(delivery, delivery.original, detector, helpers)
        told = f"{socket.gethostname()} cannot open {os.fsdecode(delivery.path)!r} ({error.strerror})"
        told += "; the folders and OUT must be on a file system that all nodes share."
        return Failure("fault", UNSHARED, told), ()
    mine = secrets.token_hex(6)
    job = msgspec.structs.replace(
        delivery.job, result=f"{delivery.job.result}.{mine}", alerts=f"{delivery.job.alerts}.{mine}"
    )
    with file:
        answer = answered(msgspec.structs.replace(delivery, job=job), file, detector, helpers)
    if not isinstance(answer, Done):
        return answer, ()
    try:
        durable_io.rename(Path(job.result), Path(delivery.job.result))
        if answer.delivery and answer.delivery.alerts_sha256:
            durable_io.rename(Path(job.alerts), Path(delivery.job.alerts))
    except OSError as error:
        fault = EnvironmentFault.of(error, f"{delivery.job.result}: cannot be written")
        return Failure("fault", fault.code, str(fault)), ()
    return answer, ()


def _opened(path: bytes) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")

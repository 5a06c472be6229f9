"""A Ray cluster as the workers of a folder: the driver's pool, and the task that runs on a node.

A task opens its file by path, as the nodes share the folders; where they do not, it fetches the object of the store
that the file was copied from, and sends the results back. Whatever it writes has a name of this attempt alone until it
is whole, since Ray may try a task again. The chunks of a long file become tasks of their own.
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
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

import anomvae
from anomvae import durable_io
from anomvae.cluster.object_store import MissingError, Place
from anomvae.errors import DataError, EnvironmentFault, UsageError
from anomvae.model.detector import Detector
from anomvae.scoring.batch import Chunk, ChunkScorer, ScoredChunk, score_chunk
from anomvae.store import model_file
from anomvae.workers.pool import POLL
from anomvae.workers.process import PARENT_SIGNALS, Ticket, answer_delivery, answer_of
from anomvae.workers.protocol import Answer, Delivery, Done, Failure, Original, Task, outcome

Bytes = NDArray[np.uint8]  # of a file: an array is not copied again on its way through Ray's memory
ATTEMPTS = 4  # of a task whose process or node is lost
TASKS_PER_CPU = 3  # that are submitted at a time, so that no CPU waits for the driver
MAX_TASKS = 3000
MAX_CHUNKS = 32  # of one file that are under way at a time, each of some 10 MB both ways
SIZE_EVERY = 5.0  # seconds between two looks at the cluster's size
CONNECT_TIMEOUT = 10.0  # seconds
UNSHARED = "unshared"  # the code of a failure: the node cannot open the file
Reply = tuple[bytes, tuple[Bytes, ...]]  # an answer, and files that the node could not write where the driver sees them
LOST = "the Ray node that this run is connected to has died; start the cluster again, then run again, nothing is lost."
INSTALL = "--engine ray needs the extra 'scale': pip install 'anomvae[scale]'."


class RayPool:
    """The CPUs of a Ray cluster as workers (`workers.pool.Workers`). It connects when the first task is submitted.

    Args:
        address: `auto`, or HOST:PORT of the cluster's head; None: what RAY_ADDRESS says, or else this machine alone.
        folder: the folder of the tasks' files.
        place: the folder of an object store that these files are copies of, if they are.

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
        self._ahead, self._size_known_until = 1, 0.0
        self._refs: dict[Ticket, Any] = {}
        self._models: dict[str, Any] = {}

    @property
    def ahead(self) -> int:
        """How many tasks may be submitted before the caller waits for the oldest answer, by the cluster's size."""
        if self._ray is not None and time.monotonic() >= self._size_known_until:
            cpus = int(self._ray.cluster_resources().get("CPU", 0))
            files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            most = (
                MAX_TASKS if files == resource.RLIM_INFINITY else min(MAX_TASKS, files // 2)
            )  # each holds its file open
            self._ahead = max(1, min(TASKS_PER_CPU * cpus, most))
            self._size_known_until = time.monotonic() + SIZE_EVERY
        return self._ahead

    def submit(self, task: Task, *descriptors: int) -> Ticket:
        """Submit a task to the cluster, which opens its file by path.

        Raises:
            EnvironmentFault: no cluster answers.
        """
        if self._ray is None:
            self._connect()
        ticket = Ticket(task, descriptors)
        if model := self._put_model(task):
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
                ticket.answer = self._receive(ticket)
            tick()
        return ticket.answer

    def close(self) -> None:
        """Cancel what is still under way and leave the cluster; one that was started here ends."""
        if self._ray is not None:
            for ref in self._refs.values():
                with suppress(Exception):
                    self._ray.cancel(ref, force=True)
            self._ray.shutdown()
        self._refs, self._models, self._ray = {}, {}, None

    def _connect(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        untyped: Any = ray
        self._probe()
        handlers = {number: signal.getsignal(number) for number in PARENT_SIGNALS}
        try:
            with _faults(self.address or "this machine"):
                untyped.init(self.address, logging_level="ERROR", log_to_driver=False, include_dashboard=False)
        finally:
            with suppress(ValueError):  # not the main thread: ray could not set them either
                for number, handler in handlers.items():
                    signal.signal(number, handler)
        self._task = _remote(untyped)
        self._ray = untyped

    def _probe(self) -> None:
        """Check that the address answers: ray itself would wait for minutes."""
        if self.address and self.address != "auto":
            host, _, port = self.address.rpartition(":")
            with _faults(self.address):
                socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT).close()

    def _message(self, task: Task) -> bytes:
        if isinstance(task, Delivery):
            settings = msgspec.structs.replace(task.job.settings, threads=1)
            job, original = msgspec.structs.replace(task.job, settings=settings), None
            if self._place:
                name = Path(os.fsdecode(task.path)).relative_to(self._folder).as_posix()
                original = Original(self._place, name)
            task = msgspec.structs.replace(task, job=job, original=original)
        return msgspec.msgpack.encode(task)

    def _put_model(self, task: Task) -> Any:
        """A reference to the task's model in the cluster's memory; None where its file holds another one by now."""
        if task.model_id not in self._models:
            data = b""
            with suppress(OSError):
                data = Path(task.model).read_bytes()
            if hashlib.sha256(data).hexdigest() != task.model_id:
                return None
            self._models = {task.model_id: self._ray.put(data)}
        return self._models[task.model_id]

    def _receive(self, ticket: Ticket) -> Answer:
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
    """Turn any error of the block, whose message may have many lines, into a fault of the machine."""
    try:
        yield
    except Exception as error:
        message = str(error).strip() or type(error).__name__
        raise EnvironmentFault(f"no Ray cluster at {place}: {message.splitlines()[0][:200]}") from error


def _remote(ray: Any) -> Any:
    return ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1)(task)


def _reply(ray: Any, ref: Any) -> tuple[Answer, tuple[Bytes, ...]]:
    try:
        message, files = ray.get(ref)
    except ray.exceptions.LocalRayletDiedError:  # ray would end this process with exit code 1 soon: that is findings
        return Failure("fault", "cluster", LOST), ()
    except ray.exceptions.RayError as error:
        return Failure("failed", message=f"its scorer died in the cluster ({type(error).__name__})"), ()
    return msgspec.msgpack.decode(message, type=Answer), files


# --- the task, on a node


def task(message: bytes, version: str, model: bytes) -> Reply:
    """Score a file, or a chunk of one, in a process of the cluster.

    Args:
        message: the task or the chunk, as MessagePack.
        version: of the driver's anomvae.
        model: the bytes of the model file.

    Returns:
        The answer as MessagePack, and the files that could not be written where the driver sees them.
    """
    files: tuple[Bytes, ...] = ()
    answer: Answer
    if version != anomvae.__version__:
        why = f"{socket.gethostname()} has anomvae {anomvae.__version__}, this is {version}: all nodes need the same."
        return msgspec.msgpack.encode(Failure("fault", "versions", why)), files
    received: Delivery | Chunk = msgspec.msgpack.decode(message, type=Delivery | Chunk)
    try:
        detector = _detector(model)
        if isinstance(received, Delivery):
            answer, files = _attempt(received, detector, partial(_score_chunks, model))
        else:
            chunk = received
            answer = answer_of(lambda: Done(chunk=score_chunk(chunk, detector)))
    except Exception as error:  # sent, not raised: the driver decides what to do about it
        answer = Failure.of(error)
    return msgspec.msgpack.encode(answer), files


def _score_chunks(model: bytes, chunks: Iterator[Chunk]) -> Iterator[ScoredChunk]:
    """Score the chunks of this task's file by tasks of their own; while this one waits, they have its CPU too."""
    import ray

    untyped: Any = ray
    chunk_task, shared = _remote(untyped).options(name="chunk"), untyped.put(model)
    most = min(MAX_CHUNKS, 2 * int(untyped.cluster_resources().get("CPU", 1)))
    begun: deque[Any] = deque()  # references, and the error that ends the file
    try:
        for one in _until_error(chunks):
            failed = isinstance(one, DataError)
            begun.append(one if failed else chunk_task.remote(msgspec.msgpack.encode(one), anomvae.__version__, shared))
            if len(begun) >= most:
                yield _scored_chunk(untyped, begun.popleft())
        while begun:
            yield _scored_chunk(untyped, begun.popleft())
    finally:
        for ref in begun:
            if not isinstance(ref, DataError):
                untyped.cancel(ref)


def _until_error(chunks: Iterator[Chunk]) -> Iterator[Chunk | DataError]:
    """The chunks, and the error that ends them, in its turn: an earlier chunk may hold an error too."""
    try:
        yield from chunks
    except DataError as error:
        yield error


def _scored_chunk(ray: Any, begun: Any) -> ScoredChunk:
    if isinstance(begun, DataError):
        raise begun
    return outcome(_reply(ray, begun)[0], ScoredChunk)


@lru_cache(maxsize=1)
def _detector(model: bytes) -> Detector:
    return model_file.from_bytes(model, generator=False)


def score_object(
    task: Delivery, original: Original, detector: Detector, chunk_scorer: ChunkScorer
) -> tuple[Answer, tuple[Bytes, ...]]:
    """Score an object of a store on a machine that does not have its copy.

    Args:
        task: what to do.
        original: the object.
        detector: the fitted model.
        chunk_scorer: scores the chunks of a long file.

    Returns:
        The answer, and the bytes of the output rows, and of the alerts where there are any. The answer for an object
        that has gone, or has another content by now, is `model_changed`: the driver then scores its copy.
    """
    with tempfile.TemporaryDirectory(prefix="anomvae-") as name:
        copy, result, alerts = (Path(name) / each for each in ("input", "result", "alerts"))
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
            answer = answer_delivery(msgspec.structs.replace(task, job=job), file, detector, chunk_scorer)
        written = (result, alerts) if isinstance(answer, Done) and answer.delivery else ()
        return answer, tuple(np.fromfile(path, np.uint8) for path in written if path.exists())


def _attempt(delivery: Delivery, detector: Detector, chunk_scorer: ChunkScorer) -> tuple[Answer, tuple[Bytes, ...]]:
    """Score a file into temporary files that no other attempt has; what is finished gets the names of the task."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.fdopen(os.open(delivery.path, flags), "rb")
    except OSError as error:
        if delivery.original:
            return score_object(delivery, delivery.original, detector, chunk_scorer)
        why = f"{socket.gethostname()} cannot open {os.fsdecode(delivery.path)!r} ({error.strerror})"
        why += "; the folders and OUT must be on a file system that all nodes share."
        return Failure("fault", UNSHARED, why), ()
    attempt = secrets.token_hex(6)
    job = msgspec.structs.replace(
        delivery.job, result=f"{delivery.job.result}.{attempt}", alerts=f"{delivery.job.alerts}.{attempt}"
    )
    with file:
        answer = answer_delivery(msgspec.structs.replace(delivery, job=job), file, detector, chunk_scorer)
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

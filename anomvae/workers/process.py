"""A worker process: it scores files, one task after the other, and commits nothing.

Tasks and the open files that belong to them are sent over a socket, and answers come back, as JSON both ways. The
worker is a fresh interpreter and not a fork, since a fork would share the ledger, the locks and the observer's threads.
It ends when its socket is closed, so it cannot outlive its parent. It ignores signals; the parent handles them.
"""

import os
import queue
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import msgspec

from anomvae import durable_io
from anomvae.config import ScoreSettings
from anomvae.errors import EnvironmentFault, ModelError
from anomvae.model.detector import Detector
from anomvae.scoring.batch import ChunkScorer
from anomvae.scoring.file import FileScorer
from anomvae.scoring.summary import FileSummary
from anomvae.workers.delivery import score_delivery
from anomvae.workers.protocol import Answer, Delivery, Done, Failure, File, Task

HEADER = struct.Struct("!I")  # before every message: its size in bytes
ADDRESS_SPACE = 4 << 30  # bytes that a worker with limited memory may map
PARENT_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1}


class Ticket(msgspec.Struct, eq=False):
    """A submitted task, the open files that it needs, and its answer, once it is there."""

    task: Task
    descriptors: tuple[int, ...]
    answer: Answer | None = None


class Worker:
    """The parent's end of a worker process, which is started with it.

    Args:
        limited: whether its memory is limited.

    Attributes:
        tickets: tasks that it has not answered, in their order; only the first can be in work.

    Raises:
        EnvironmentFault: no process could be started.
    """

    def __init__(self, *, limited: bool = False) -> None:
        self.tickets: deque[Ticket] = deque()
        self._received = b""
        try:
            self.socket, theirs = socket.socketpair()
        except OSError as error:
            raise EnvironmentFault.of(error, "a process could not be started") from error
        with theirs:
            self._process = _start_process(theirs.fileno(), limited)

    def send(self, ticket: Ticket) -> None:
        """Send a task and its open files. A dead worker is noticed later, when its answer is read."""
        self.tickets.append(ticket)
        message = msgspec.json.encode(ticket.task)
        with suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(self.socket, [HEADER.pack(len(message))], ticket.descriptors)
            self.socket.sendall(message)

    def receive(self) -> bool:
        """Read what the worker has sent; false when it has closed its socket."""
        try:
            data = self.socket.recv(1 << 20)
        except ConnectionResetError:
            data = b""
        self._received += data
        while len(self._received) >= HEADER.size:
            end = HEADER.size + HEADER.unpack_from(self._received)[0]
            if len(self._received) < end:
                break
            message, self._received = self._received[HEADER.size : end], self._received[end:]
            self.tickets.popleft().answer = msgspec.json.decode(message, type=Answer)
        return bool(data)

    def end(self) -> str:
        """End the process, whatever it does; returns how it ended."""
        self._process.kill()
        return self._ended()

    def wait(self) -> str:
        """Wait for a process that has closed its socket; returns how it ended."""
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
        return self._ended()

    def _ended(self) -> str:
        self.socket.close()
        code = self._process.wait()
        return f"signal {-code}" if code < 0 else f"exit code {code}"


def _start_process(channel: int, limited: bool) -> "subprocess.Popen[bytes]":
    """A new interpreter on its end of a socket, with the parent's signals blocked from its first moment."""
    command = [sys.executable, "-P", "-m", "anomvae.workers.process", str(channel), "limited" if limited else ""]
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, PARENT_SIGNALS)
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=env,
            pass_fds=(channel,),
            start_new_session=True,
        )
    except OSError as error:
        raise EnvironmentFault.of(error, "a process could not be started") from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# --- the process itself


def main(channel: socket.socket, *, limited: bool) -> None:
    """Answer tasks until the parent is gone."""
    if limited:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    tasks: queue.SimpleQueue[tuple[Task, list[int]]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(channel, tasks), daemon=True).start()
    detector: Detector | None = None
    while True:
        task, descriptors = tasks.get()
        try:
            loaded = _load_model(task, detector)
            answer = _answer(task, descriptors, loaded)
            detector = loaded or detector
        except Exception as error:  # sent, not raised: the parent decides what to do about it
            answer = Failure.of(error)
        message = msgspec.json.encode(answer)
        with suppress(BrokenPipeError, ConnectionResetError):  # the listening thread ends this process
            channel.sendall(HEADER.pack(len(message)) + message)


def _listen(channel: socket.socket, tasks: "queue.SimpleQueue[tuple[Task, list[int]]]") -> None:
    """Receive tasks in a thread of its own, so that the process ends as soon as its parent has."""
    try:
        while received := _receive_task(channel):
            tasks.put(received)
    finally:
        os._exit(0)


def _receive_task(channel: socket.socket) -> tuple[Task, list[int]] | None:
    header, descriptors, _, _ = socket.recv_fds(channel, HEADER.size, 1)
    if not header:
        return None
    (size,) = HEADER.unpack(header)
    body = b""
    while len(body) < size and (more := channel.recv(size - len(body))):
        body += more
    return msgspec.json.decode(body, type=Task), descriptors


def _load_model(task: Task, loaded: Detector | None) -> Detector | None:
    """The task's model; None where its file holds another one by now, or none."""
    from anomvae.store import model_file

    if loaded is not None and loaded.model_id == task.model_id:
        return loaded
    try:
        found = model_file.load(task.model, generator=False)
    except ModelError:
        return None
    return found if found.model_id == task.model_id else None


def _answer(task: Task, descriptors: list[int], detector: Detector | None) -> Answer:
    if detector is None:
        for descriptor in descriptors:
            os.close(descriptor)
        return Failure("model_changed")
    if isinstance(task, Delivery):
        with os.fdopen(descriptors[0], "rb") as file:
            return answer_delivery(task, file, detector)
    return answer_of(lambda: Done(file=_score_named_file(task, descriptors, detector)))


def answer_delivery(
    task: Delivery, file: BinaryIO, detector: Detector, chunk_scorer: ChunkScorer | None = None
) -> Answer:
    """Score a file of a watched folder.

    Args:
        task: what to do.
        file: the open file.
        detector: the fitted model.
        chunk_scorer: scores the chunks of a long file elsewhere; None: all of it is scored here.
    """
    job = msgspec.structs.replace(task.job, settings=_one_thread(task.job.settings))
    return answer_of(lambda: Done(delivery=score_delivery(file, job, detector, lambda: None, chunk_scorer)))


def answer_of(step: Callable[[], Done]) -> Answer:
    """The answer of a step; an exception in it becomes an answer too, since the parent decides what to do about it."""
    try:
        return step()
    except Exception as error:
        return Failure.of(error)


def _score_named_file(task: File, descriptors: list[int], detector: Detector) -> FileSummary:
    scorer = FileScorer(task.name, detector, _one_thread(task.settings), lambda name, rows: None)
    if not descriptors:
        return scorer.score(None)
    target = Path(task.target)
    with (
        durable_io.faults(f"{target}: not written; nothing was changed"),
        durable_io.adopt(descriptors[0], target) as out,
    ):
        return scorer.score(out, task.target, task.suffix)


def _one_thread(settings: ScoreSettings) -> ScoreSettings:
    """The settings with one thread in place of `auto`: the other cores have workers of their own."""
    return msgspec.structs.replace(settings, threads=1) if settings.threads == "auto" else settings


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), limited=bool(sys.argv[2]))

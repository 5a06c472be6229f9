"""A pool of worker processes, and the queue of tasks for them. Answers come in any order; the caller keeps the order.

A worker is started when all others are busy. It is given a second task beside the one it carries out, so that it never
waits for its parent. When it dies, the task that it carried out fails, and the other one is given to another worker.
"""

import selectors
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from anomvae.workers.process import Ticket, Worker
from anomvae.workers.protocol import Answer, Failure, Task

AHEAD = 4  # tasks for each worker that may be submitted before the caller waits for the oldest answer
DEPTH = 2  # tasks that a worker has at a time: one in work, one that waits
POLL = 0.05  # seconds between two calls of `tick` while waiting


class Workers(Protocol):
    """What carries out tasks: worker processes of this machine, or a cluster."""

    @property
    def ahead(self) -> int:
        """How many tasks may be submitted before the caller waits for the oldest answer."""
        ...

    def submit(self, task: Task, *descriptors: int) -> Ticket:
        """Submit a task. The open files that it needs must stay open until it is answered."""
        ...

    def answer(self, ticket: Ticket, tick: Callable[[], None]) -> Answer:
        """Wait for the answer to a task; `tick` is called meanwhile and may raise to give up."""
        ...

    def close(self) -> None:
        """End all workers, whatever they do."""
        ...


class Pool:
    """Worker processes of this machine. None is started before the first task.

    Args:
        jobs: how many there are at most.
        limited: whether the memory of each is limited.
    """

    def __init__(self, jobs: int, *, limited: bool = False) -> None:
        self.jobs, self.limited, self.ahead = jobs, limited, AHEAD * jobs
        self._workers: list[Worker] = []
        self._waiting: deque[Ticket] = deque()
        self._selector = selectors.DefaultSelector()

    def submit(self, task: Task, *descriptors: int) -> Ticket:
        """Submit a task. The open files that it needs must stay open until it is answered.

        Raises:
            EnvironmentFault: no worker could be started.
        """
        ticket = Ticket(task, descriptors)
        self._waiting.append(ticket)
        with self._cancelled_on_error(ticket):
            self._assign()
        return ticket

    def answer(self, ticket: Ticket, tick: Callable[[], None]) -> Answer:
        """Wait for the answer to a task.

        Args:
            ticket: the task.
            tick: called while waiting; it may raise to give up.

        Raises:
            EnvironmentFault: no worker could be started in the place of one that died.
        """
        with self._cancelled_on_error(ticket):
            self._receive(0)
            while ticket.answer is None:
                self._receive(POLL)
                tick()
        return ticket.answer

    def close(self) -> None:
        """End all workers, whatever they do."""
        for worker in self._workers:
            worker.end()
        self._workers, self._waiting = [], deque()
        self._selector.close()

    @contextmanager
    def _cancelled_on_error(self, ticket: Ticket) -> Iterator[None]:
        """Cancel the task after an exception: its files are closed then, so that no worker may get it any more."""
        try:
            yield
        except BaseException:
            ticket.answer = Failure("failed", message="given up")
            raise

    def _receive(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            worker: Worker = key.data
            if not worker.receive():
                self._remove_dead(worker)
        self._assign()

    def _remove_dead(self, worker: Worker) -> None:
        self._selector.unregister(worker.socket)
        self._workers.remove(worker)
        end = worker.wait()
        if worker.tickets:
            worker.tickets.popleft().answer = Failure("failed", message=f"its scorer died ({end})")
        self._waiting.extendleft(reversed(worker.tickets))

    def _assign(self) -> None:
        """Send waiting tasks to the workers with the fewest; start another worker where all have one."""
        while self._waiting:
            if self._waiting[0].answer:
                self._waiting.popleft()
                continue
            worker = min(self._workers, key=lambda one: len(one.tickets), default=None)
            if len(self._workers) < self.jobs and (worker is None or worker.tickets):
                worker = Worker(limited=self.limited)
                self._workers.append(worker)
                self._selector.register(worker.socket, selectors.EVENT_READ, worker)
            if worker is None or len(worker.tickets) >= DEPTH:
                return
            worker.send(self._waiting.popleft())

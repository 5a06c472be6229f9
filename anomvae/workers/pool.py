"""A pool of workers, and the tasks that wait for one. Tasks are answered in any order; the caller keeps the order.

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

AHEAD = 4  # tasks for each worker that may be given away before the oldest answer is asked for
DEPTH = 2  # tasks that a worker has at a time
POLL = 0.05  # seconds between two signs of life


class Workers(Protocol):
    """What carries out tasks: worker processes of this machine, or a cluster."""

    @property
    def ahead(self) -> int:
        """Tasks that may be given away before the oldest is asked for."""
        ...

    def submit(self, task: Task, *descriptors: int) -> Ticket:
        """Give a task away; its open files must stay open until it is answered."""
        ...

    def answer(self, ticket: Ticket, tick: Callable[[], None]) -> Answer:
        """Wait for the answer; `tick` is called meanwhile and may raise to give up."""
        ...

    def close(self) -> None:
        """End all workers, whatever they do."""
        ...


class Pool:
    """At most `jobs` workers, each `limited` in its memory or not; none before the first task."""

    def __init__(self, jobs: int, *, limited: bool = False) -> None:
        self.jobs, self.limited, self.ahead = jobs, limited, AHEAD * jobs
        self._workers: list[Worker] = []
        self._waiting: deque[Ticket] = deque()
        self._selector = selectors.DefaultSelector()

    def submit(self, task: Task, *descriptors: int) -> Ticket:
        """Give a task away; its open files must stay open until it is answered.

        Raises:
            EnvironmentFault: no worker could be started.
        """
        ticket = Ticket(task, descriptors)
        self._waiting.append(ticket)
        with self._given_up(ticket):
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
        with self._given_up(ticket):
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
    def _given_up(self, ticket: Ticket) -> Iterator[None]:
        """After an exception the task must not be given to a worker any more, since its files are closed then."""
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
        how = worker.wait()
        if worker.tickets:
            worker.tickets.popleft().answer = Failure("failed", message=f"its scorer died ({how})")
        self._waiting.extendleft(reversed(worker.tickets))

    def _assign(self) -> None:
        """Give tasks to the workers with the fewest; start another worker where all have one."""
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

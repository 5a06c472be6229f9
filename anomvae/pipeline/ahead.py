"""Several batches at once, on threads: numpy lets go of the interpreter while it multiplies."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain, islice
from typing import Literal, TypeVar

A = TypeVar("A")
B = TypeVar("B")

MOST = 4  # threads that `auto` takes at most: reading, on one more, keeps about so many busy


def count(threads: int | Literal["auto"]) -> int:
    """How many threads a setting means on this machine."""
    if threads != "auto":
        return threads
    with suppress(AttributeError):  # not on every system
        return min(len(os.sched_getaffinity(0)), MOST)
    return min(os.cpu_count() or 1, MOST)


def in_order(work: Callable[[A], B], items: Iterable[A], threads: int) -> Iterator[B]:
    """`work` of every item, in their order; up to `threads` at once, and no more than these held.

    The first item is done alone: most files have no second one, and starting threads costs imports.
    """
    items = iter(items)
    yield from map(work, islice(items, 1 if threads > 1 else None))
    if (second := next(items, None)) is not None:
        yield from _side_by_side(work, chain([second], items), threads)


def _side_by_side(work: Callable[[A], B], items: Iterable[A], threads: int) -> Iterator[B]:
    from concurrent.futures import Future, ThreadPoolExecutor

    begun: deque[Future[B]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                begun.append(pool.submit(work, item))
                if len(begun) > threads:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for one in begun:
                one.cancel()

"""Score a suspect file, over which a scorer crashed before, in a child process with limits of memory and time.

That the child process dies is evidence against the file. The death of the whole run never is, since it may have been
ended by an operator or a power cut.
"""

import os
import time
from collections.abc import Callable
from typing import BinaryIO

from anomvae.pipeline.deliver import ChangedError, Scored
from anomvae.pipeline.errand import Delivery, FailedError, ModelChangedError, outcome
from anomvae.pipeline.pool import Pool

SECONDS = 120.0  # to which a second for every megabyte is added


class DiedError(Exception):
    """The worker died over the file; the message says how."""


def isolated(file: BinaryIO, task: Delivery, tick: Callable[[], None]) -> Scored:
    """Score an open file in a worker of its own.

    Raises:
        DataError: the file is refused.
        ChangedError: the file, or the model, is no longer the one of the task.
        DiedError: the worker died, or ran out of memory or time.
        EnvironmentFault: the worker could not be started, or met a fault of the machine.
    """
    started, allowed = time.monotonic(), SECONDS + os.fstat(file.fileno()).st_size / 1e6

    def watched() -> None:
        tick()
        if time.monotonic() - started > allowed:
            raise DiedError(f"took more than {allowed:.0f} s")

    pool = Pool(1, limited=True)
    try:
        return outcome(pool.answer(pool.submit(task, file.fileno()), watched), Scored)
    except ModelChangedError as replaced:
        raise ChangedError from replaced
    except FailedError as failed:
        raise DiedError(str(failed)) from failed
    finally:
        pool.close()

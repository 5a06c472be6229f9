"""Score an object of a store on a machine that does not have its copy: fetch it, score it, and return the results.

Nothing of it is seen by anybody before it is whole: it is written in a folder of this attempt alone, and the driver
gives what it is sent its names.
"""

import socket
import tempfile
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae import disk
from anomvae.data.locations import MissingError, Place
from anomvae.errors import EnvironmentFault, UsageError
from anomvae.model.detector import Detector
from anomvae.pipeline.errand import Answer, Delivery, Done, Failure, Original
from anomvae.pipeline.piece import Helpers
from anomvae.pipeline.worker import answered

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
            if disk.sha256(copy) != task.job.sha256:
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

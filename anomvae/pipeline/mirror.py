"""A folder of an object store as a folder of this machine, and results on their way back.

Objects are copied once a version; what was copied is known by name and tag. Results go back by their content's name,
manifests after them, so that whoever finds a manifest finds what it describes; what is there already is not sent again.
Each step can be repeated, so a run that was cut off is finished by the next one.
"""

from collections.abc import Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from anomvae import disk
from anomvae.data.locations import Place
from anomvae.storage.store import MANIFEST, REASON

KNOWN = "objects.json"  # names and tags of what was copied


class Mirror:
    """Places, and their copies in a folder of this machine.

    Args:
        source: where files come from; None: they are here.
        target: where results go; None: they stay here.
        state: the folder for copies.

    Raises:
        UsageError: a place cannot be used.
    """

    def __init__(self, source: str | None, target: str | None, state: Path) -> None:
        self._source, self._target = (Place(uri) if uri else None for uri in (source, target))
        self.incoming, self._notes = state / "incoming", state / KNOWN

    def fetch(self, patterns: Sequence[str], *, recursive: bool) -> None:
        """Copy what is new at the source, if there is one, to `incoming`.

        Raises:
            EnvironmentFault: the place, or the disk, failed.
        """
        if self._source is None:
            return
        with disk.faults(f"{self.incoming}: cannot be made"):
            disk.make_folder(self.incoming)
        known = self._known()
        for name, tag in self._source.files(recursive=recursive).items():
            wanted = any(fnmatchcase(name.rpartition("/")[2], pattern) for pattern in patterns)
            if wanted and (known.get(name) != tag or not (self.incoming / name).exists()):
                self._source.fetch(name, self.incoming / name)
                known[name] = tag
        with disk.replacing(self._notes) as file:
            file.write(msgspec.json.encode(known))

    def _known(self) -> dict[str, str]:
        """What was copied; where that is not known, all is copied again, and the ledger knows it."""
        with suppress(OSError, msgspec.DecodeError):
            return msgspec.json.decode(self._notes.read_bytes(), type=dict[str, str])
        return {}

    def send(self, out: Path) -> int:
        """Copy what is new of an output folder to the target, if there is one; returns how many results that were.

        Raises:
            EnvironmentFault: the place failed.
        """
        if self._target is None:
            return 0
        there = self._target.files(recursive=True)
        new = [one for one in sorted((out / "results").glob(f"*{MANIFEST}")) if f"results/{one.name}" not in there]
        for manifest in new:
            for path in (*_results(manifest), manifest):
                self._target.put(path, f"results/{path.name}")
        for reason in sorted((out / "quarantine").glob(f"*{REASON}")):
            if f"quarantine/{reason.name}" not in there:
                self._target.put(reason, f"quarantine/{reason.name}")
        if new:
            self._target.put(out / "alerts.jsonl", "alerts.jsonl")
        return len(new)


def _results(manifest: Path) -> list[Path]:
    stem = manifest.name.removesuffix(MANIFEST)
    return [path for path in sorted(manifest.parent.glob(f"{stem}.*")) if path != manifest]

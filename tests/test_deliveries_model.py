"""Any sequence of writes, growth, renames, deletions, kills and lost ledgers against a model of a dozen lines."""

import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from anomvae import durable_io
from anomvae.records.folder import Manifest
from tests import faults
from tests.folders import score, sink, table

pytestmark = pytest.mark.slow  # a state machine, many runs an example

HEAD, BODY = table(400, 0, wild=False).split(b"\n", 1)
ROWS = BODY.splitlines(keepends=True)
names = st.sampled_from(["a.csv", "b.csv"])


class Deliveries(RuleBasedStateMachine):
    """The folder, and what ought to have come of it."""

    model: ClassVar[Path]

    @initialize()
    def begin(self) -> None:
        self.base = Path(tempfile.mkdtemp())
        self.folder, self.out = self.base / "in", self.base / "out"
        self.folder.mkdir()
        self.judged: dict[tuple[str, str], tuple[str, int, int]] = {}  # (file, sha) -> state, rows before, rows
        self.last: dict[str, bytes] = {}  # file -> its newest scored content
        self.at = 0
        self._write("a.csv", "", 3)

    def teardown(self) -> None:
        if hasattr(self, "base"):
            shutil.rmtree(self.base)

    def fresh(self, count: int) -> bytes:
        self.at += count
        return b"".join(ROWS[self.at - count : self.at])

    @rule(
        way=st.sampled_from(["write", "append", "append", "edit", "spoil", "rename", "copy", "delete", "equal_times"]),
        name=names,
        other=names,
        count=st.integers(1, 6),
    )
    def change(self, way: str, name: str, other: str, count: int) -> None:
        getattr(self, f"_{way}")(name, other, count)

    def _write(self, name: str, other: str, count: int) -> None:
        (self.folder / name).write_bytes(HEAD + b"\n" + self.fresh(count))

    def _append(self, name: str, other: str, count: int) -> None:
        if (self.folder / name).exists():
            with (self.folder / name).open("ab") as file:
                file.write(self.fresh(count))

    def _edit(self, name: str, other: str, count: int) -> None:
        if (self.folder / name).exists():
            data = (self.folder / name).read_bytes()
            (self.folder / name).write_bytes(data.replace(b"true", b"TRUE", 1))

    def _spoil(self, name: str, other: str, count: int) -> None:
        (self.folder / name).write_bytes(b"%PDF-" + str(self.at).encode() + b"\n")

    def _rename(self, name: str, other: str, count: int) -> None:
        if (self.folder / name).exists():
            (self.folder / name).rename(self.folder / other)

    def _copy(self, name: str, other: str, count: int) -> None:
        if (self.folder / name).exists() and name != other:
            shutil.copy2(self.folder / name, self.folder / other)

    def _delete(self, name: str, other: str, count: int) -> None:
        (self.folder / name).unlink(missing_ok=True)

    def _equal_times(self, name: str, other: str, count: int) -> None:
        if (self.folder / name).exists():
            os.utime(self.folder / name, ns=(7, 7))

    @rule()
    def lose_the_ledger(self) -> None:
        for path in self.out.glob("ledger.sqlite*"):
            path.unlink()

    @rule(at=st.integers(5, 40))
    def run_killed_and_started_again(self, at: int) -> None:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            durable_io.hook = faults.Kill(at)
            score(self.folder, self.out, self.model)
            os._exit(0)
        os.waitpid(child, 0)
        self.run()

    @rule()
    def run(self) -> None:
        assert score(self.folder, self.out, self.model) in (0, 1, 3)
        for path in sorted(self.folder.iterdir()):
            self._expect(path.name, path.read_bytes())

    def _expect(self, name: str, data: bytes) -> None:
        key = (name, hashlib.sha256(data).hexdigest())
        if key in self.judged:
            return
        if data.startswith(b"%PDF"):
            self.judged[key] = ("quarantined", 0, 0)
            return
        old = self.last.get(name, b"")
        grown = old and data.startswith(old)
        before = old.count(b"\n") - 1 if grown else 0
        self.judged[key] = ("committed", before, data.count(b"\n") - 1 - before)
        self.last[name] = data

    @invariant()
    def the_sink_is_the_model(self) -> None:
        if not hasattr(self, "judged") or not self.judged or not self._settled():
            return
        found = sink(self.out)
        assert set(found.rows.values()) <= {1}
        told = {}
        for path in (self.out / "results").glob("*.manifest.json"):
            one = msgspec.json.decode(path.read_bytes(), type=Manifest)
            told[one.file, one.sha256] = ("committed", one.base_rows, one.result.rows)
        wanted = {key: value for key, value in self.judged.items() if value[0] == "committed"}
        assert told == wanted
        assert len(list((self.out / "quarantine").iterdir())) == len(self.judged) - len(wanted)

    def _settled(self) -> bool:
        """Whether all that lies in the folder was judged: the model speaks of that."""
        files = ((path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in self.folder.iterdir())
        return (self.out / "ledger.sqlite").exists() and all(file in self.judged for file in files)


def test_any_sequence_of_events_ends_as_the_model_says(model: Path) -> None:
    Deliveries.model = model
    options = settings(
        max_examples=30, stateful_step_count=16, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    run_state_machine_as_test(Deliveries, settings=options)  # type: ignore[no-untyped-call]

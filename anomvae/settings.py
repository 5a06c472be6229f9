"""Typed settings: one place that knows every option, its type and its default.

TOML is read here; an unknown key is an error that names the nearest known one. The command line lays
flags and `ANOMVAE_*` variables over these values (flags > environment > file > defaults).
"""

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from anomvae.errors import UsageError
from anomvae.formats import FORMATS

if TYPE_CHECKING:
    from anomvae.invalid import Spell

    OutputFormat = str
else:
    OutputFormat = Literal[tuple(FORMATS)]

Alpha = Annotated[float, Meta(gt=0, le=0.5, description="the share of normal rows that may be flagged")]
Share = Annotated[float, Meta(ge=0, lt=0.5, description="the share of the training rows that may be anomalies")]
Positive = Annotated[int, Meta(ge=1)]
Kind = Literal["numeric", "integer", "categorical", "boolean", "datetime", "ignore"]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every table of the configuration file."""


class ColumnSettings(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[schema.columns.NAME]`: what a column is, where guessing is not wanted.

    `format` is a strptime format, for datetime columns only.
    """

    kind: Kind
    format: str | None = None


class SchemaSettings(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[schema]`: columns to leave out (`drop`), to keep but not model (`id`), to mask (`redact`), to type by hand."""

    drop: tuple[str, ...] = ()
    id: tuple[str, ...] = ()
    redact: tuple[str, ...] = ()
    columns: dict[str, ColumnSettings] = {}


class Dialect(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How text becomes cells; kept in the model so that every later command reads alike."""

    encoding: str = "utf-8"
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] = ","
    decimal: Literal[".", ","] = "."
    thousands: Literal["", ",", ".", " ", "'", "_"] = ""
    skip_lines: Annotated[int, Meta(ge=0)] = 0

    def __post_init__(self) -> None:
        try:
            "".encode(self.encoding)
        except LookupError:
            raise ValueError(f"encoding '{self.encoding}' is none that Python knows, such as utf-8 or cp1252") from None


class FitSettings(Dialect, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[fit]`: the training recipe. Defaults are the same for all data (docs/decisions.md)."""

    where: tuple[str, ...] = ()
    label: str | None = None
    normal: str | None = None
    alpha: Alpha = 0.01
    contamination: Share = 0.0
    threshold: Literal["auto"] | float = "auto"
    hidden: tuple[Positive, ...] | None = None
    latent: Literal["auto"] | Positive = "auto"
    beta: Annotated[float, Meta(ge=0)] = 0.03
    steps: Literal["auto"] | Positive = "auto"
    batch: Positive = 128
    lr: Annotated[float, Meta(gt=0)] = 4.5e-3
    max_time: str | None = None
    max_rows: Annotated[int, Meta(ge=20)] = 200_000
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    seed: Annotated[int, Meta(ge=0)] = 0
    generator: bool = True
    selftest: bool = True

    @property
    def by_hand(self) -> tuple[Literal["hidden", "latent", "steps"], ...]:
        """Which sizes are asked for."""
        sizes: tuple[Literal["hidden", "latent", "steps"], ...] = ("hidden", "latent", "steps")
        return tuple(name for name in sizes if getattr(self, name) not in (None, "auto"))

    @property
    def plain(self) -> bool:
        """Whether the layout was chosen by hand: then the network is the textbook's, with its columns as numbers."""
        return "hidden" in self.by_hand or "latent" in self.by_hand

    def dialect(self) -> Dialect:
        """The part of these settings that later commands must share."""
        return Dialect(**{name: getattr(self, name) for name in Dialect.__struct_fields__})


class ScoreSettings(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[score]`: what a scoring run writes, tells and fails on."""

    emit: Literal["all", "flagged"] = "all"
    top: Annotated[int, Meta(ge=0)] = 10
    alpha: Alpha | None = None
    fail_on: Literal["never", "any", "critical", "file"] = "critical"
    on_schema: Literal["strict", "warn"] = "warn"
    bad_rows: Literal["reject", "quarantine"] = "reject"
    spreadsheet_safe: bool = False
    threads: Literal["auto"] | Positive = "auto"
    jobs: Annotated[int, Meta(ge=1, le=64)] = 1
    engine: Literal["local", "ray"] = "local"
    address: str | None = None
    state: str | None = None

    def __post_init__(self) -> None:
        if self.engine == "ray" and self.jobs > 1:
            raise ValueError("jobs are processes of this machine; with engine ray, the cluster's CPUs decide")


class GenerateSettings(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[generate]`: how synthetic rows are drawn, judged and spoilt.

    `anomalies` is the share of rows that get one labelled fault of the `kinds`.
    """

    where: tuple[str, ...] = ()
    balance: str | None = None
    to: str = "majority"
    like: str | None = None
    temperature: Annotated[float, Meta(ge=0, le=10)] = 1.0
    gate: bool = True
    anomalies: Annotated[float, Meta(ge=0, le=1)] = 0.0
    kinds: tuple[str, ...] = ()
    truth: bool = False
    seed: Annotated[int, Meta(ge=0)] = 0


class WatchSettings(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[watch]`: what counts as a delivery in a folder, and when it is complete. Shared by `score FOLDER`."""

    pattern: Annotated[tuple[str, ...], Meta(min_length=1)] = ("*.csv", "*.csv.gz", "*.parquet")
    recursive: bool = False
    settle: str = "2s"
    rescan: str = "10s"
    existing: Literal["score", "skip"] = "score"
    after: Literal["keep", "move"] = "keep"
    ready: str | None = None
    format: OutputFormat = "csv"
    observer: Literal["auto", "native", "poll"] = "auto"
    idle_exit: str | None = None
    ui: Literal["auto", "live", "plain"] = "auto"

    def marker(self) -> str | None:
        """The suffix that a producer gives a file's marker, from `--ready marker:SUFFIX`.

        Raises:
            UsageError: it has another form.
        """
        if self.ready is None:
            return None
        kind, _, suffix = self.ready.partition(":")
        if kind != "marker" or not suffix or "/" in suffix:
            raise UsageError(f"--ready '{self.ready}' is not marker:SUFFIX, for example marker:.done.")
        return suffix


class OutletSettings(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[outlets]`: who hears of what, of a watched folder. What is secret is named, as `env:NAME` or `file:PATH`.

    `on` is what is worth a message, as in `--fail-on`; quarantined files always are.
    """

    on: Literal["any", "critical", "file"] = "critical"
    cooldown: str = "10m"
    webhook: str | None = None
    webhook_secret: str | None = None
    apprise: tuple[str, ...] = ()
    ping: str | None = None
    metrics: str | None = None

    def any(self) -> bool:
        """Whether there is an outlet at all."""
        return bool(self.webhook or self.apprise or self.ping or self.metrics)


S = TypeVar("S", bound=Settings)
T = TypeVar("T")


class Config(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole configuration file."""

    version: Literal[1] = 1
    model: str | None = None
    train: tuple[str, ...] = ()
    folder: str | None = None
    out: str | None = None
    schema: SchemaSettings = SchemaSettings()
    fit: FitSettings = FitSettings()
    score: ScoreSettings = ScoreSettings()
    generate: GenerateSettings = GenerateSettings()
    watch: WatchSettings = WatchSettings()
    outlets: OutletSettings = OutletSettings()


def read_config(path: Path) -> Config:
    """Read and check a TOML configuration file.

    Raises:
        UsageError: the file is missing, is not TOML, or has an unknown key or a value of a wrong type.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8, as TOML must be (byte {error.start:,}).") from error
    except tomllib.TOMLDecodeError as error:
        said, _, place = str(error).rstrip(")").partition(" (at ")
        line = "".join(f":{word}" for word in place.replace(",", "").split() if word.isdigit())
        raise UsageError(f"{path}{line}: is not valid TOML: {said}.") from error
    _refuse_unknown(document, Config, str(path))
    return build(Config, document, _spelled_in(path))


def _spelled_in(path: Path) -> "Spell":
    def spell(keys: tuple[str, ...], value: Any) -> str:
        from anomvae import invalid

        if value is None:
            return f"{path}: [{'.'.join(keys)}]"
        table = f"[{'.'.join(keys[:-1])}] " if len(keys) > 1 else ""
        return f"{path}: {table}{keys[-1]} = {invalid.shown(value)}"

    return spell


def build(kind: type[T], values: dict[str, Any], spell: "Spell") -> T:
    """Make settings of `kind` from plain values.

    Args:
        kind: the settings.
        values: by key.
        spell: how the user wrote a key and its value, for errors.

    Raises:
        UsageError: a value is not allowed.
    """
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        from anomvae import invalid  # only an error needs it

        raise UsageError(f"{invalid.told(error, kind, values, spell)}.") from error


def changed(settings: S, values: dict[str, Any], spell: "Spell") -> S:
    """The same settings with `values` laid over them, checked again; arguments as of `build`."""
    return build(type(settings), {**msgspec.to_builtins(settings), **values}, spell)


def _refuse_unknown(document: dict[str, Any], kind: Any, where: str, table: str = "") -> None:
    known = {field.name: field.type for field in msgspec.structs.fields(kind)}
    for key, value in document.items():
        if key not in known:
            from anomvae.invalid import near

            raise UsageError(f"{where}: unknown key '{table}{key}'{near(key, known)}")
        if isinstance(value, dict) and isinstance(known[key], type) and issubclass(known[key], Settings):
            _refuse_unknown(value, known[key], where, f"{table}{key}.")


def seconds(text: str, name: str) -> float:
    """A duration such as `90`, `2s`, `10m`, `1h` or `7d`, in seconds; `name` is the setting's.

    Raises:
        UsageError: it is not a positive duration.
    """
    units = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    try:
        value = float(number) * units[unit]
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise UsageError(f"{name} '{text}' is not a duration; write for example 90s, 10m, 1h or 7d.")
    return value

"""Metrics for Prometheus, in a text file that node_exporter's textfile collector reads.

The file is replaced as a whole with every health record.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import anomvae
from anomvae import durable_io
from anomvae.errors import UsageError
from anomvae.records.folder import Counters, HealthResult
from anomvae.report.sanitize import sanitize

READABLE = 0o644  # by the collector, another user

TOTALS = {
    "files": "Files that were scored.",
    "quarantined": "Files that were refused.",
    "rows": "Rows that arrived in scored files.",
    "scored": "Rows that were scored.",
    "rejected": "Rows that could not be read.",
    "flagged": "Rows that were flagged.",
    "critical": "Rows that were critical.",
}


class MetricsFile:
    """Writes the metrics of a folder.

    Args:
        path: the file, `NAME.prom`.
        before: what earlier runs have counted.
        success: when a run last could do its work, in Unix seconds.
        say: called with a warning the first time that the file cannot be written.
    """

    def __init__(self, path: Path, before: Counters, success: float, say: Callable[[str], None]) -> None:
        self._path, self._before, self._success, self._say = path, before, success, say
        self._failed = False
        self._last: HealthResult | None = None

    def write(self, health: HealthResult) -> None:
        """Replace the file. A `watch` that is not paused counts as a success at that time."""
        self._last = health
        if health.mode == "watch" and not health.paused:
            self._success = datetime.fromisoformat(health.at_utc).timestamp()
        try:
            durable_io.publish(self._path, exposition(health, self._before, self._success), READABLE)
        except OSError as error:
            if not self._failed:
                self._say(f"warning: {self._path}: the figures cannot be written ({error.strerror})")
            self._failed = True

    def succeeded(self, now: float) -> None:
        """Note that the run has done its work and ends, at a time in Unix seconds."""
        self._success = now
        if self._last is not None:
            self.write(self._last)


def check_folder(path: Path) -> None:
    """Refuse a metrics file whose folder is not there.

    Raises:
        UsageError: its folder is not there.
    """
    if not path.absolute().parent.is_dir():
        raise UsageError(f"[outlets] metrics: {path.parent} is no folder; make it, or name a file elsewhere.")


def exposition(health: HealthResult, before: Counters, success: float) -> bytes:
    """The metrics in Prometheus' text format.

    Args:
        health: how the run is doing.
        before: what earlier runs have counted.
        success: when a run last could do its work, in Unix seconds.

    Returns:
        The content of the file.
    """
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector

    labels = {"folder": sanitize(health.folder), "model": sanitize(health.model)}
    names, values = list(labels), list(labels.values())

    class Metrics(Collector):
        def collect(self) -> Iterator[Metric]:
            for name, text in TOTALS.items():
                family = CounterMetricFamily(f"anomvae_{name}", text, labels=names)
                family.add_metric(values, getattr(before, name) + getattr(health.counters, name))
                yield family
            for name, (text, value) in _gauges(health, success).items():
                gauge = GaugeMetricFamily(f"anomvae_{name}", text, labels=names)
                gauge.add_metric(values, value)
                yield gauge
            info = GaugeMetricFamily(
                "anomvae_model_info", "The model in use.", labels=[*names, "model_id", "version", "mode"]
            )
            info.add_metric([*values, health.model_id, anomvae.__version__, health.mode], 1)
            yield info

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Metrics())
    return generate_latest(registry)


def _gauges(health: HealthResult, success: float) -> dict[str, tuple[str, float]]:
    """Help text and value of every gauge, by name."""
    gauges = {
        "backlog_files": ("Files in the queue.", float(health.backlog)),
        "outbox_pending": ("Messages that wait to be sent.", float(health.messages.waiting)),
        "outbox_given_up": ("Messages that were given up lately.", float(health.messages.given_up)),
        "alpha": ("The false-alarm rate that the threshold promises.", health.alpha),
        "last_success_timestamp_seconds": ("When a run last could do its work, in Unix seconds.", success),
    }
    if health.rates:
        rate = sum(health.rates) / len(health.rates)
        gauges["flag_rate"] = ("Share of flagged rows, mean of the newest files of this run.", rate)
    return gauges

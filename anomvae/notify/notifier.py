"""The notifier of a run: which messages a processed file causes, and how the run's health reaches monitors."""

import hashlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import msgspec

from anomvae.config import OutletSettings, seconds
from anomvae.errors import EnvironmentFault
from anomvae.folder.outbox import OutboxMessage, OutboxUpdate
from anomvae.folder.output_folder import OutputFolder
from anomvae.notify import message_text, prometheus_file
from anomvae.notify.cooldown import Step, good, trouble
from anomvae.notify.http_outlets import Heartbeat, Secret, Webhook, address
from anomvae.notify.sender import Outlet, Sender
from anomvae.records.folder import Counters, HealthResult, Manifest, Message, Quarantined
from anomvae.records.results import FileResult


class Outlets(msgspec.Struct, frozen=True):
    """What the outlet settings name, checked and ready to be used.

    Attributes:
        on: which files cause messages, as in `--fail-on`.
        cooldown: seconds in which files of the same trouble cause one message only.
        receivers: where messages are sent.
        heartbeat: pings a monitor; to be entered around the run.
        metrics: the file for Prometheus; None where there is none.
    """

    on: str
    cooldown: float
    receivers: tuple[Outlet, ...]
    heartbeat: Heartbeat
    metrics: Path | None


def check_outlets(settings: OutletSettings) -> Outlets:
    """Make the outlets that the settings name, before a run begins.

    Raises:
        UsageError: a secret is not there, or an outlet cannot be used.
    """
    cooldown, receivers = seconds(settings.cooldown, "[outlets] cooldown"), make_receivers(settings)
    heartbeat = Heartbeat(address(settings.ping, "ping") if settings.ping else None)
    if settings.metrics:
        prometheus_file.check_folder(Path(settings.metrics))
    return Outlets(settings.on, cooldown, receivers, heartbeat, Path(settings.metrics) if settings.metrics else None)


def make_receivers(settings: OutletSettings) -> tuple[Outlet, ...]:
    """The outlets that take messages: the webhook and the services of apprise.

    Raises:
        UsageError: a secret is not there, or an outlet cannot be used.
    """
    receivers: list[Outlet] = []
    key = Secret(settings.webhook_secret, "webhook_secret") if settings.webhook_secret else None
    if settings.webhook:
        receivers.append(Webhook(address(settings.webhook, "webhook"), key))
    if settings.apprise:
        from anomvae.notify.apprise_outlet import Chat

        receivers += [Chat(Secret(reference, "apprise")) for reference in settings.apprise]
    return tuple(receivers)


class Notifier:
    """Decides which messages processed files cause, and has them sent; it starts to send at once.

    Args:
        outlets: where messages and health go.
        output: the output folder, whose outbox may hold messages of earlier runs.
        folder: the input folder, as the user named it.
        found: whether a file has what a `--fail-on` value names.
        say: called with notes for the user.
    """

    def __init__(
        self,
        outlets: Outlets,
        output: OutputFolder,
        folder: str,
        found: Callable[[FileResult, str], bool],
        say: Callable[[str], None],
    ) -> None:
        self._outlets, self._output, self._folder, self._found = outlets, output, folder, found
        self._sender: Sender | None = None
        if outlets.receivers or output.ledger.outbox.messages().waiting:  # messages without an outlet are given up
            self._sender = Sender(output.out / "ledger.sqlite", outlets.receivers, say)
            self._sender.start()
        self._metrics = _metrics_file(outlets.metrics, output, say) if outlets.metrics else None

    def publish(self, health: HealthResult) -> None:
        """Hand the health of the run on: to the monitor, in the case of a `watch`, and to the metrics file."""
        if health.mode == "watch":
            self._outlets.heartbeat.send_if_due()
        if self._metrics is not None:
            self._metrics.write(health)

    def close(self, patience: float) -> bool:
        """Stop sending, after one more try of at most `patience` seconds; returns whether no message is left unsent."""
        if self._sender is None:
            return True
        self._sender.finish(patience)
        try:
            return not self._sender.given_up and not self._output.ledger.outbox.messages().waiting
        except EnvironmentFault:
            return False

    def succeeded(self, now: float) -> None:
        """Note in the metrics that the run has done its work, at a time in Unix seconds."""
        if self._metrics is not None:
            self._metrics.succeeded(now)

    def messages_for(self, fact: Manifest | Quarantined) -> OutboxUpdate | None:
        """The messages that one processed file causes, and the topics after it; None where nothing changes."""
        if not self._outlets.receivers:
            return None
        topics, now = self._output.ledger.outbox.topics(), datetime.fromisoformat(fact.committed_utc).timestamp()
        name = self._topic(fact)
        cooldown = self._outlets.cooldown
        step = trouble(topics, name, now, cooldown) if name else good(topics, now, cooldown)
        if step is None:
            return None
        messages: tuple[OutboxMessage, ...] = ()
        if step.send:
            message = self._message(fact, step, trouble=bool(name))
            body = message_text.as_json(message)
            messages = tuple(
                OutboxMessage(outlet.name, _key(message, outlet.name), body) for outlet in self._outlets.receivers
            )
        return OutboxUpdate(now, messages, step.topics)

    def _topic(self, fact: Manifest | Quarantined) -> str:
        """What kind of trouble a file is, by model and column or reason code; empty for a good file."""
        if isinstance(fact, Quarantined):
            return f"{fact.model_id} refused {fact.reason_code}"
        if not self._found(fact.result, self._outlets.on):
            return ""
        if fact.result.why and fact.result.why[0].unreadable:
            return f"{fact.model_id} unreadable {fact.result.why[0].error}"
        return f"{fact.model_id} column {fact.result.blame[0].column if fact.result.blame else ''}"

    def _message(self, fact: Manifest | Quarantined, step: Step, *, trouble: bool) -> Message:
        if isinstance(fact, Quarantined):
            return message_text.quarantined(fact, self._folder, step)
        return (message_text.found if trouble else message_text.recovered)(fact, self._folder, step)


def _metrics_file(path: Path, output: OutputFolder, say: Callable[[str], None]) -> prometheus_file.MetricsFile:
    """The metrics file of an output folder, with the counts of earlier runs from its ledger."""
    totals = output.ledger.totals()
    before = Counters(**{name: totals["total" if name == "rows" else name] for name in prometheus_file.TOTALS})
    ended = output.ledger.last_end()
    success = datetime.fromisoformat(ended).timestamp() if ended else 0.0
    return prometheus_file.MetricsFile(path, before, success, say)


def _key(message: Message, outlet: str) -> str:
    """Identifies a message: the same for the same delivery, outlet and kind, in every run and at every try."""
    return hashlib.sha256(f"{message.delivery_id}\0{outlet}\0{message.kind}".encode()).hexdigest()[:32]

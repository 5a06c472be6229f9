"""All receivers of a run: what each processed file and each beat of the run means for them."""

import hashlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import msgspec

from anomvae.config import OutletSettings, seconds
from anomvae.errors import EnvironmentFault
from anomvae.folder.outbox import OutboxMessage, OutboxUpdate
from anomvae.folder.output_folder import Store
from anomvae.notify import message_text, prometheus_file
from anomvae.notify.cooldown import Step, good, trouble
from anomvae.notify.http_outlets import Pulse, Secret, address
from anomvae.notify.sender import Outlet, Sender
from anomvae.records.folder import Counters, HealthResult, Manifest, Message, Quarantined
from anomvae.records.results import FileResult


class Outlets(msgspec.Struct, frozen=True):
    """What the outlet settings name, checked and ready to be used.

    Attributes:
        on: which files people hear of, as in `--fail-on`.
        cooldown: seconds in which files of the same trouble cause one message only.
        receivers: where messages are sent.
        ping: the heartbeat for a monitor, to be entered around the run.
        metrics: the file for Prometheus; None where there is none.
    """

    on: str
    cooldown: float
    receivers: tuple[Outlet, ...]
    ping: Pulse
    metrics: Path | None


def check_outlets(settings: OutletSettings) -> Outlets:
    """Make the outlets that the settings name.

    Raises:
        UsageError: a secret is not there, or an outlet cannot be used.
    """
    cooldown, receivers = seconds(settings.cooldown, "[outlets] cooldown"), _outlets(settings)
    ping = Pulse(address(settings.ping, "ping") if settings.ping else None)
    if settings.metrics:
        prometheus_file.check(Path(settings.metrics))
    return Outlets(settings.on, cooldown, receivers, ping, Path(settings.metrics) if settings.metrics else None)


class Notifier:
    """Tells people and programs of processed files, and of how the run is doing. It starts to send at once.

    Args:
        outlets: where to.
        store: the output folder, whose outbox may hold messages of earlier runs.
        folder: the input folder, as the user named it.
        found: whether a file has what a `--fail-on` value names.
        say: called with notes for the user.
    """

    def __init__(
        self,
        outlets: Outlets,
        store: Store,
        folder: str,
        found: Callable[[FileResult, str], bool],
        say: Callable[[str], None],
    ) -> None:
        self._outlets, self._store, self._folder, self._found = outlets, store, folder, found
        self._sender: Sender | None = None
        if outlets.receivers or store.ledger.outbox.messages().waiting:  # messages to nobody are given up
            self._sender = Sender(store.out / "ledger.sqlite", outlets.receivers, say)
            self._sender.start()
        self._metrics = textfile_of(outlets.metrics, store, say) if outlets.metrics else None

    def publish(self, health: HealthResult) -> None:
        """Tell how the run is doing: the monitor, in the case of a `watch`, and the metrics file."""
        if health.mode == "watch":
            self._outlets.ping.beat()
        if self._metrics is not None:
            self._metrics.write(health)

    def close(self, patience: float) -> bool:
        """Stop sending, after one more try of at most `patience` seconds; returns whether no message is left unsent."""
        if self._sender is None:
            return True
        self._sender.finish(patience)
        try:
            return not self._sender.given_up and not self._store.ledger.outbox.messages().waiting
        except EnvironmentFault:
            return False

    def succeeded(self, now: float) -> None:
        """Note in the metrics that the run has done its work, at a time in Unix seconds."""
        if self._metrics is not None:
            self._metrics.succeeded(now)

    def messages_for(self, fact: Manifest | Quarantined) -> OutboxUpdate | None:
        """The messages that one processed file causes, and what is remembered of them; None where it causes none."""
        if not self._outlets.receivers:
            return None
        topics, now = self._store.ledger.outbox.topics(), datetime.fromisoformat(fact.committed_utc).timestamp()
        name = self._topic(fact)
        cooldown = self._outlets.cooldown
        step = trouble(topics, name, now, cooldown) if name else good(topics, now, cooldown)
        if step is None:
            return None
        messages = self._addressed(self._message(fact, step, trouble=bool(name))) if step.tell else ()
        return OutboxUpdate(now, messages, step.topics)

    def _topic(self, fact: Manifest | Quarantined) -> str:
        """What kind of trouble a file is, by model and column or reason code; empty for a good file."""
        if isinstance(fact, Quarantined):
            return f"{fact.model_id} refused {fact.reason_code}"
        if not self._found(fact.result, self._outlets.on):
            return ""
        return f"{fact.model_id} column {fact.result.blame[0].column if fact.result.blame else ''}"

    def _message(self, fact: Manifest | Quarantined, step: Step, *, trouble: bool) -> Message:
        if isinstance(fact, Quarantined):
            return message_text.quarantined(fact, self._folder, step)
        return (message_text.found if trouble else message_text.recovered)(fact, self._folder, step)

    def _addressed(self, message: Message) -> tuple[OutboxMessage, ...]:
        body = message_text.as_json(message)
        return tuple(OutboxMessage(one.name, _key(message, one.name), body) for one in self._outlets.receivers)


def textfile_of(path: Path, store: Store, say: Callable[[str], None]) -> prometheus_file.Textfile:
    """The metrics file of an output folder, with the counts of earlier runs from its ledger."""
    totals = store.ledger.totals()
    before = Counters(**{name: totals["total" if name == "rows" else name] for name in prometheus_file.TOTALS})
    ended = store.ledger.last_end()
    success = datetime.fromisoformat(ended).timestamp() if ended else 0.0
    return prometheus_file.Textfile(path, before, success, say)


def _key(message: Message, outlet: str) -> str:
    """The same for the same delivery, outlet and kind of message, whoever sends it and however often."""
    return hashlib.sha256(f"{message.delivery_id}\0{outlet}\0{message.kind}".encode()).hexdigest()[:32]


def _outlets(settings: OutletSettings) -> tuple[Outlet, ...]:
    found: list[Outlet] = []
    key = Secret(settings.webhook_secret, "webhook_secret") if settings.webhook_secret else None
    if settings.webhook:
        from anomvae.notify.http_outlets import Webhook

        found.append(Webhook(address(settings.webhook, "webhook"), key))
    if settings.apprise:
        from anomvae.notify.apprise_outlet import Chat

        found += [Chat(Secret(reference, "apprise")) for reference in settings.apprise]
    return tuple(found)

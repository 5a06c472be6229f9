"""The desk: all outlets of one run over a folder, checked before it begins."""

import hashlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from anomvae.deliveries import Counters, HealthResult, Manifest, Quarantined
from anomvae.errors import EnvironmentFault
from anomvae.messages import Message
from anomvae.outlets import policy, textfile, wording
from anomvae.outlets.pulse import Pulse
from anomvae.outlets.secret import Secret, address
from anomvae.outlets.sender import Outlet, Sender
from anomvae.results import FileResult
from anomvae.settings import OutletSettings, seconds
from anomvae.storage.outbox import Letter, News
from anomvae.storage.store import Store


class Desk:
    """Tells of deliveries, and of how the run is doing.

    Args:
        settings: the outlets.
        folder: the input folder, as the user named it.
        found: whether a file has what `on` names.
        say: called with what somebody at the terminal should know.

    Attributes:
        pulse: the heartbeat, to be entered around the run.

    Raises:
        UsageError: a secret is not there, an outlet cannot be used.
    """

    def __init__(
        self,
        settings: OutletSettings,
        folder: str,
        found: Callable[[FileResult, str], bool],
        say: Callable[[str], None],
    ) -> None:
        self._settings, self._folder, self._found, self._say = settings, folder, found, say
        self._cooldown = seconds(settings.cooldown, "[outlets] cooldown")
        self._outlets = _outlets(settings)
        self.pulse = Pulse(address(settings.ping, "ping") if settings.ping else None)
        if settings.metrics:
            textfile.check(Path(settings.metrics))
        self._sender: Sender | None = None
        self._figures: textfile.Textfile | None = None

    def open(self, store: Store) -> None:
        """Begin to send what is in the outbox of an output folder, and what will be."""
        self._store = store
        if self._outlets:
            store.announce = self.announce
        if self._outlets or store.ledger.outbox.messages().waiting:  # those to nobody are given up
            self._sender = Sender(store.out / "ledger.sqlite", self._outlets, self._say)
            self._sender.start()
        if self._settings.metrics:
            totals = store.ledger.totals()
            before = Counters(**{name: totals["total" if name == "rows" else name] for name in textfile.TOTALS})
            ended = store.ledger.last_end()
            success = datetime.fromisoformat(ended).timestamp() if ended else 0.0
            self._figures = textfile.Textfile(Path(self._settings.metrics), before, success, self._say)

    def beat(self, health: HealthResult) -> None:
        """A sign of life; of a `watch` the monitor hears as well, a `score` tells it when it has ended."""
        if health.mode == "watch":
            self.pulse.beat()
        if self._figures is not None:
            self._figures.write(health)

    def close(self, patience: float) -> bool:
        """Try once more what waits, for at most `patience` seconds; whether all messages of this run were taken."""
        if self._sender is None:
            return True
        self._sender.finish(patience)
        try:
            return not self._sender.given_up and not self._store.ledger.outbox.messages().waiting
        except EnvironmentFault:
            return False

    def succeeded(self, now: float) -> None:
        """The run has done its work."""
        if self._figures is not None:
            self._figures.succeeded(now)

    def announce(self, fact: Manifest | Quarantined) -> News | None:
        """What one delivery changes in the outbox."""
        topics, now = self._store.ledger.outbox.topics(), datetime.fromisoformat(fact.committed_utc).timestamp()
        name = self._topic(fact)
        step = policy.trouble(topics, name, now, self._cooldown) if name else policy.good(topics, now, self._cooldown)
        if step is None:
            return None
        letters = self._letters(self._message(fact, step, trouble=bool(name))) if step.tell else ()
        return News(now, letters, step.topics)

    def _topic(self, fact: Manifest | Quarantined) -> str:
        """In which way a file is wanting: the model, and the column or the reason code; empty for a good one."""
        if isinstance(fact, Quarantined):
            return f"{fact.model_id} refused {fact.reason_code}"
        if not self._found(fact.result, self._settings.on):
            return ""
        return f"{fact.model_id} column {fact.result.blame[0].column if fact.result.blame else ''}"

    def _message(self, fact: Manifest | Quarantined, step: policy.Step, *, trouble: bool) -> Message:
        if isinstance(fact, Quarantined):
            return wording.quarantined(fact, self._folder, step)
        return (wording.found if trouble else wording.recovered)(fact, self._folder, step)

    def _letters(self, message: Message) -> tuple[Letter, ...]:
        body = wording.letter(message)
        return tuple(Letter(one.name, _key(message, one.name), body) for one in self._outlets)


def _key(message: Message, outlet: str) -> str:
    """The same for the same delivery, outlet and kind of message, whoever sends it and however often."""
    return hashlib.sha256(f"{message.delivery_id}\0{outlet}\0{message.kind}".encode()).hexdigest()[:32]


def _outlets(settings: OutletSettings) -> tuple[Outlet, ...]:
    found: list[Outlet] = []
    key = Secret(settings.webhook_secret, "webhook_secret") if settings.webhook_secret else None
    if settings.webhook:
        from anomvae.outlets.webhook import Webhook

        found.append(Webhook(address(settings.webhook, "webhook"), key))
    if settings.apprise:
        from anomvae.outlets.chat import Chat

        found += [Chat(Secret(reference, "apprise")) for reference in settings.apprise]
    return tuple(found)

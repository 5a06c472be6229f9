"""The webhook: a message as JSON, signed, under a key that lets the receiver drop a repeat."""

import hashlib
import hmac

from anomvae.outlets.secret import Secret
from anomvae.outlets.web import post
from anomvae.storage.outbox import OutboxMessage


class Webhook:
    """Posts messages to one address.

    Args:
        to: the address.
        key: what requests are signed with; None for no signature.
    """

    name = "webhook"

    def __init__(self, to: Secret, key: Secret | None) -> None:
        self._to, self._key = to, key

    def send(self, message: OutboxMessage, now: float) -> None:
        """Send a message, at a time in Unix seconds.

        Raises:
            UndeliveredError: it was not taken.
        """
        body, stamp = message.body.encode(), str(int(now))
        headers = {"Content-Type": "application/json", "Idempotency-Key": message.key, "X-Anomvae-Timestamp": stamp}
        if self._key is not None:
            headers["X-Anomvae-Signature"] = f"sha256={signature(self._key.reveal(), stamp, body)}"
        post(self._to, body, headers)


def signature(key: str, stamp: str, body: bytes) -> str:
    """HMAC-SHA256 of timestamp, a full stop and the body, in hexadecimal."""
    return hmac.new(key.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()

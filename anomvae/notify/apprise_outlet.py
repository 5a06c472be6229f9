"""The outlet for chats and mail, by the library apprise (an extra): any of its services gets a message as text."""

import logging
from typing import Any

import msgspec

from anomvae.errors import UsageError
from anomvae.folder.outbox import OutboxMessage
from anomvae.notify.http_outlets import Secret, UndeliveredError
from anomvae.records.folder import Message


class Chat:
    """An outlet that sends messages to the services that one secret names.

    Args:
        to: the addresses, as apprise writes them.

    Raises:
        UsageError: apprise is not installed, or does not know such an address.
    """

    def __init__(self, to: Secret) -> None:
        self.name = f"apprise {to.reference}"
        try:
            import apprise
        except ImportError as error:
            raise UsageError(f"{to.name}: needs apprise; pip install 'anomvae[alerts]'.") from error
        logging.getLogger("apprise").disabled = True  # its lines hold addresses
        self._service: Any = apprise.Apprise()
        self._text = apprise.NotifyFormat.TEXT
        if not self._service.add(to.reveal()):
            raise UsageError(f"{to.name}: {to.reference} is no address that apprise knows.")

    def send(self, message: OutboxMessage, now: float) -> None:
        """Send the title and text of a message.

        Raises:
            UndeliveredError: a service did not take it.
        """
        content = msgspec.json.decode(message.body, type=Message)
        try:
            taken = self._service.notify(title=content.title, body=content.text, body_format=self._text)
        except Exception as error:  # of one of its many services; its text may hold the address
            raise UndeliveredError(type(error).__name__) from None
        if not taken:
            raise UndeliveredError("the service did not take it")

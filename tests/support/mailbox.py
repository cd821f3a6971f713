"""A mail server on a free port of this machine: keeps what comes."""

import email.policy
import socket
from email import message_from_bytes

from aiosmtpd.controller import Controller


class Mailbox:
    """Use it by `with`. `refuse`: the answer to every mail instead of taking it, such as "451 later"."""

    def __init__(self, refuse=None):
        self.mails = []
        self.refuse = refuse
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    @property
    def url(self) -> str:
        """For Apprise: plain SMTP, from labmon to the admins."""
        return f"mailto://127.0.0.1:{self.port}/?from=labmon@example.edu&to=admins@example.edu&mode=insecure"

    async def handle_DATA(self, server, session, envelope):
        if self.refuse:
            return self.refuse
        self.mails.append(message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 kept"

    def __enter__(self):
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self._controller.start()
        return self

    def __exit__(self, *_):
        self._controller.stop()

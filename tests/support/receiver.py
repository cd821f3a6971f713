"""A webhook's receiver on a free port of this machine: records what comes, answers as told."""

import json
import ssl
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    """One request."""

    at: float  #: time.monotonic()
    path: str
    headers: Any
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def alerts(self) -> list[tuple[int, str, str]]:
        """(system, type, state) of each."""
        return [
            (one["system_id"], one["alert_type"], one.get("state", "firing"))
            for one in self.document["alerts"]
        ]


class Receiver:
    """Use it by `with`. `answers` are used up one by one, then `then` is the answer.

    `limit`: a longer body is answered `too_large` and is in `refused`, not in `received`. `drip`: after the
    request one byte of a header a second comes back, for ever.
    """

    def __init__(
        self,
        *,
        certificate=None,
        answers=(),
        then=204,
        delay=0.0,
        headers=(),
        limit=None,
        too_large=413,
        drip=False,
    ):
        self.received: list[Received] = []
        self.refused: list[Received] = []
        self.answers = list(answers)
        self.then = then
        self.delay = delay
        self.headers = dict(headers)
        self.ended = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                one = Received(time.monotonic(), self.path, self.headers, body)
                if limit is not None and len(body) > limit:
                    receiver.refused.append(one)
                    self.send_response(too_large)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                receiver.received.append(one)
                if drip:
                    self.wfile.write(b"HTTP/1.1 204 No Content\r\nX-Slow: ")
                    while not receiver.ended.wait(0.2):
                        self.wfile.write(b"x")
                    return
                time.sleep(receiver.delay)
                self.send_response(receiver.answers.pop(0) if receiver.answers else receiver.then)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._server.handle_error = lambda *_: None  # a client that does not like the certificate
            self._scheme = "https"

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}/hook/token-abc"

    @property
    def alerts(self) -> list[tuple[int, str, str]]:
        """Of all requests, in the order in which they came."""
        return [alert for one in self.received for alert in one.alerts]

    def wait(self, count, seconds=20):
        """Until so many requests have come."""
        deadline = time.monotonic() + seconds
        while len(self.received) < count:
            assert time.monotonic() < deadline, f"{len(self.received)} of {count} requests came"
            time.sleep(0.01)
        return self.received

    def __enter__(self):
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05])
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

"""Receive labmon's webhook: check who sent it, then print a line for each alert.

HOOK_SECRET=... python receive.py [PORT]
"""

import hashlib
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

SECRET = os.environ["HOOK_SECRET"].encode()
OLDEST = 300  # seconds; an older notification was recorded and sent again by somebody else
SEEN = set()  # ids handled already: labmon may repeat a notification after a crash, never change it


def is_genuine(header, body):
    """True when the body was signed with the secret in the last five minutes."""
    try:
        fields = dict(part.split("=", 1) for part in header.split(","))
        age = abs(time.time() - int(fields["t"]))
    except (ValueError, KeyError):
        return False
    expected = hmac.new(SECRET, fields["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
    return age <= OLDEST and hmac.compare_digest(expected, fields.get("v1", ""))


class Hook(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not is_genuine(self.headers.get("Labmon-Signature", ""), body):
            self.answer(403)
            return
        notification = json.loads(body)
        if notification["id"] not in SEEN:
            SEEN.add(notification["id"])
            for alert in notification["alerts"]:
                state = alert.get("state", "firing")
                print(f"{state} {alert['severity']} {alert['alert_type']}: {alert['about']}", flush=True)
        self.answer(204)  # any 2xx: taken; 5xx: labmon tries again, for a day

    def answer(self, code):
        self.send_response(code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = HTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8088), Hook)
    print(f"listening on http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()

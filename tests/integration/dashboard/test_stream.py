"""Live changes: read once for all who listen, and nothing while nobody does."""

import asyncio
import json

from labmon.dashboard.live.hub import WAITING
from tests.integration.dashboard.lab import fire, measure, minutes_ago


class Stream:
    """One open stream of the application, without a socket."""

    def __init__(self, app):
        self.app = app
        self.text = ""
        self.status = None
        self.changed = asyncio.Event()
        self.gone = asyncio.Event()
        self.stuck = False
        self._task = asyncio.create_task(self._run())

    async def _run(self):
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/api/v1/stream",
            "raw_path": b"/api/v1/stream",
            "root_path": "",
            "query_string": b"",
            "headers": [(b"host", b"127.0.0.1:8480")],
            "client": ("127.0.0.1", 40000),
            "server": ("127.0.0.1", 8480),
        }
        asked = False

        async def receive():
            nonlocal asked
            if not asked:
                asked = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await self.gone.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            if message["type"] == "http.response.start":
                self.status = message["status"]
            else:
                if self.stuck:
                    await asyncio.Event().wait()
                self.text += message["body"].decode()
            self.changed.set()

        await self.app(scope, receive, send)

    async def event(self, name, past=0):
        """The data of the next event of this name."""
        while True:
            for part in self.text[past:].split("\n\n")[:-1]:
                fields = dict(line.split(": ", 1) for line in part.splitlines() if ": " in line)
                if fields.get("event") == name:
                    return json.loads(fields["data"])
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), 30)

    async def leave(self):
        self.gone.set()
        await asyncio.wait_for(self._task, 10)

    async def ended(self):
        await asyncio.wait_for(asyncio.shield(self._task), 30)


def test_who_listens_is_told_of_changed_systems_alerts_and_the_overview(app, connection, lab):
    async def run():
        stream = Stream(app)
        await stream.event("summary")
        await stream.event("queues")
        seen = len(stream.text)
        measure(connection, 1, minutes_ago(1), cpu=77.0)
        number = fire(connection, 1, severity="critical")
        changed = await stream.event("systems", seen)
        assert {row[0] for row in changed["rows"]} == {1}
        assert changed["removed"] == []
        assert [one["alert_id"] for one in (await stream.event("alerts", seen))["items"]] == [number]
        connection.execute("DELETE FROM systems WHERE system_id = 4")
        connection.commit()
        seen = len(stream.text)
        assert (await stream.event("systems", seen))["removed"] == [4]
        await stream.leave()
        assert app.state.context.live.hub.listeners == 0

    asyncio.run(run())


def test_a_change_by_the_api_is_told_to_all_at_once(app, api, connection, lab):
    async def run():
        streams = [Stream(app) for _ in range(20)]
        for stream in streams:
            await stream.event("summary")
        number = fire(connection, 1)
        await asyncio.to_thread(lambda: None)
        for stream in streams:
            await stream.event("alerts")
        seen = [len(stream.text) for stream in streams]
        await asyncio.to_thread(api.post, "/alerts/ack", {"ids": [number]})
        for stream, past in zip(streams, seen, strict=True):
            (one,) = (await stream.event("alerts", past))["items"]
            assert one["acknowledged_by"] == "local"
        threads = app.state.context.live.hub._thread
        for stream in streams:
            await stream.leave()
        await asyncio.to_thread(threads.join, 10)
        assert not threads.is_alive()

    asyncio.run(run())


def test_one_that_does_not_read_is_dropped_and_the_others_go_on(app, lab):
    async def run():
        slow, quick = Stream(app), Stream(app)
        await slow.event("summary")
        await quick.event("summary")
        slow.stuck = True
        live = app.state.context.live
        for number in range(WAITING + 3):
            live.hub._send(live.hub._thread, b"event: test\ndata: %d\n\n" % number)
            await asyncio.sleep(0.01)
        await slow.ended()
        assert await quick.event("test") == 0
        assert live.hub.listeners == 1
        await quick.leave()

    asyncio.run(run())


def test_a_session_that_was_revoked_ends_its_stream(app, lab, monkeypatch):
    monkeypatch.setattr("labmon.dashboard.api.stream.PING", 0.3)

    async def run():
        stream = Stream(app)
        await stream.event("summary")
        await asyncio.sleep(1)
        assert ": ping" in stream.text
        monkeypatch.setattr("labmon.dashboard.api.stream.caller_of", lambda *_: None)
        await stream.ended()

    asyncio.run(run())


def test_streams_end_when_the_server_does(app, lab):
    async def run():
        streams = [Stream(app) for _ in range(3)]
        for stream in streams:
            await stream.event("summary")
        for end in app.state.context.on_stop:
            end()
        for stream in streams:
            await stream.ended()

    asyncio.run(run())

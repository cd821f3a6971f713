"""Whose password is compared next."""

import asyncio

import pytest

from labmon.dashboard.security import turns
from labmon.dashboard.security.turns import Crowded, Turns


class Desk:
    """Attempts that each hold their turn until they are let go; `begun` in their order."""

    def __init__(self):
        self.turns = Turns()
        self.begun = []
        self._held = {}
        self.tasks = {}

    def send(self, name, source, **more):
        self._held[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._attempt(name, source, **more))

    async def _attempt(self, name, source, **more):
        async with self.turns.turn(source, **more):
            self.begun.append(name)
            await self._held[name].wait()

    async def end(self, *names):
        for name in names:
            self._held[name].set()
            await self.tasks[name]
        await settle()


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


def test_an_address_with_many_attempts_leaves_a_place_for_another():
    async def run():
        desk = Desk()
        for number in range(20):
            desk.send(f"guess {number}", "10.0.0.1")
        await settle()
        assert desk.begun == ["guess 0"]
        desk.send("anna", "10.0.0.2")
        await settle()
        assert desk.begun == ["guess 0", "anna"]
        await desk.end(*desk.begun, *(f"guess {number}" for number in range(1, 20)))
        assert desk.begun[2:] == [f"guess {number}" for number in range(1, 20)]

    asyncio.run(run())


def test_addresses_have_their_turns_one_after_the_other():
    async def run():
        desk = Desk()
        for source in ("a", "b", "c"):
            for number in range(3):
                desk.send(f"{source}{number}", source)
        await settle()
        ended = 0
        while ended < len(desk.begun):
            await desk.end(desk.begun[ended])
            ended += 1
        assert len(desk.begun) == 9
        assert {name[0] for name in desk.begun[:3]} == {"a", "b", "c"}
        assert {name[0] for name in desk.begun[3:6]} == {"a", "b", "c"}

    asyncio.run(run())


def test_those_that_failed_lately_come_last():
    async def run():
        desk = Desk()
        for number in range(10):
            desk.send(f"guess {number}", f"10.0.1.{number}", is_last=True)
        await settle()
        desk.send("anna", "10.0.0.2")
        await desk.end("guess 0")
        assert desk.begun == ["guess 0", "guess 1", "anna"]

    asyncio.run(run())


def test_too_many_are_refused_and_others_are_not(monkeypatch):
    monkeypatch.setattr(turns, "WAITING", 3)

    async def run():
        desk = Desk()
        for number in range(5):
            desk.send(f"guess {number}", "10.0.0.1")
        await settle()
        with pytest.raises(Crowded):
            await desk.tasks["guess 4"]
        desk.send("anna", "10.0.0.2")
        await settle()
        assert "anna" in desk.begun

    asyncio.run(run())


def test_who_goes_away_gives_the_turn_on_and_nothing_is_left():
    async def run():
        desk = Desk()
        for name, source in (("a", "1"), ("b", "2"), ("c", "1"), ("d", "3"), ("e", "1")):
            desk.send(name, source)
        await settle()
        for name in ("c", "a"):  # one that waits, one at work
            desk.tasks[name].cancel()
        await settle()
        assert desk.begun == ["a", "b", "d"]
        await desk.end("b", "d")
        await desk.end("e")
        assert desk.begun[-1] == "e"
        assert not desk.turns._waiting and not desk.turns._working

    asyncio.run(run())

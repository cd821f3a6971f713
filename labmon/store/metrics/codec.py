"""One metric of one machine and hour as bytes, exact. `labmon_unpack` in the database is the way back.

What each value is more than the least, in as few bits as nearly all of them need: none for what did not
change. The few that need more have the rest of their bits, and their places, at the end. (In the literature:
frame of reference, with patches.) Before that, whichever makes it smaller:

* a slope (time, uptime) is made level by taking off a step for every place;
* of numbers that all have three digits and then zeros, as rates have, each is its place among all such: 0 to
  1000 are themselves, 1010 is 1001, 9990 is 1899, 10,000 is 1900.

    byte 0   1..7: decimals + 1, the values times 10^decimals are whole numbers; 8: they are the bits of a
             real; and 16: some are NULL; 32: some have more bits; 64: places among numbers of three digits
    byte 1   the bits of each value
    byte 2   the bytes of the least value, and 16 times those of the step; both follow
             with 32: how many have more bits (a byte), and how many more (a byte)
             the bits: a 1 for each NULL; the values; the places, in as many bits as their number has, and the
             higher bits
"""

import math
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, cast

_GAPS, _PATCHES, _THREE_DIGITS = 16, 32, 64
_BITS_OF_REAL = 8

_SAFE = 2**62
"""Numbers nearer to zero can be added to one another in the 64 bits of the database."""
_MOST_PATCHES = 255


def pack(values: Sequence[int | None] | Sequence[float | None]) -> bytes | None:
    """None where there is no value at all.

    float: whatever a `real` of the database can be. int: from 0 to 2**63 - 1, or less than 2**62 from 0.
    """
    present = _without_gaps(values)
    if not present:
        return None
    whole, kind = _whole(present)
    return min(_frames(whole, kind), key=attrgetter("bits")).written(values)


def _without_gaps(values: Sequence[int | None] | Sequence[float | None]) -> list[int] | list[float]:
    """Each NULL is what came before it, so that it costs least; [] when there is nothing else."""
    if None not in values:
        return cast(list[int] | list[float], values)
    filled: list[Any] = []
    last = next((value for value in values if value is not None), None)
    if last is not None:
        for value in values:
            last = last if value is None else value
            filled.append(last)
    return filled


def _whole(numbers: list[int] | list[float]) -> tuple[list[int], int]:
    """The numbers to write, and how they are to be read."""
    if isinstance(numbers[0], int):
        return cast(list[int], numbers), 1
    stored = array("f", numbers).tobytes()
    for decimals in (3, 6):  # most sensors have a few, and whole numbers pack better than the bits of a real
        factor = 10**decimals
        try:
            whole = [round(number * factor) for number in numbers]
        except (ValueError, OverflowError):  # not a number, infinite
            break
        if max(map(abs, whole)) < _SAFE and array("f", [n / factor for n in whole]).tobytes() == stored:
            unneeded, common = 0, math.gcd(*whole, factor)
            while common % 10 == 0:
                unneeded, common = unneeded + 1, common // 10
            if unneeded:
                whole = [n // 10**unneeded for n in whole]
            return whole, decimals - unneeded + 1
    return list(array("i", stored)), _BITS_OF_REAL


@dataclass(slots=True)
class _Frame:
    """One way to write them down."""

    offsets: Sequence[int]  #: what each is more than the least
    kind: int
    step: int
    least: int
    full: int  #: bits of the most, above the least
    width: int  #: bits that each has
    bits: int  #: of all this

    @classmethod
    def of(cls, numbers: Sequence[int], kind: int, step: int = 0) -> "_Frame":
        places, least = len(numbers), min(numbers)
        offsets = [number - least for number in numbers]
        full = width = max(offsets).bit_length()
        bits = places * full
        if full > 1:
            lengths = sorted(map(int.bit_length, offsets))
            for fewer in set(lengths):
                patches = places - bisect_right(lengths, fewer)
                cost = places * fewer + patches * (places.bit_length() + full - fewer) + 16
                if cost < bits and 0 < patches <= _MOST_PATCHES:
                    width, bits = fewer, cost
        return cls(offsets, kind, step, least, full, width, bits + 8 * (_size(least) + _size(step)))

    def written(self, values: Sequence[object]) -> bytes:
        least, width, full, kind = self.least, self.width, self.full, self.kind
        bits, total = 0, width * len(values)
        if None in values:
            kind += _GAPS
            for value in values:
                bits = bits << 1 | (value is None)
            total += len(values)
        if width == full:
            for offset in self.offsets:
                bits = bits << width | offset
            patches = b""
        else:
            mask = (1 << width) - 1
            for offset in self.offsets:
                bits = bits << width | offset & mask
            kind += _PATCHES
            place_bits, count = len(values).bit_length(), 0
            for place, offset in enumerate(self.offsets):
                if more := offset >> width:
                    bits = (bits << place_bits | place) << full - width | more
                    count += 1
            total += count * (place_bits + full - width)
            patches = bytes((count, full - width))
        return b"".join(
            (
                bytes((kind, width, _size(least) + 16 * _size(self.step))),
                _short(least),
                _short(self.step),
                patches,
                (bits << -total % 8).to_bytes((total + 7) // 8, "big"),
            )
        )


def _frames(numbers: list[int], kind: int) -> Iterator[_Frame]:
    """The ways that may be the shortest."""
    yield _Frame.of(numbers, kind)
    least, most = min(numbers), max(numbers)
    if most > least > -_SAFE and most < _SAFE:
        climb = numbers[-1] - numbers[0]
        if abs(climb) == most - least and (step := climb // (len(numbers) - 1)):
            yield _Frame.of([n - step * place for place, n in enumerate(numbers)], kind, step)
        if kind != _BITS_OF_REAL and least >= 0 and (places := _of_three_digits(numbers, most)):
            yield _Frame.of(places, kind + _THREE_DIGITS)


def _of_three_digits(numbers: Sequence[int], most: int) -> list[int]:
    """Which of all numbers of three digits, and zeros, each is; [] when they are not, or are small."""
    if most < 2000:
        return []
    found = []
    for number in numbers:
        if number >= 1000:
            zeros = len(str(number)) - 3
            number, rest = divmod(number, 10**zeros)
            if rest:
                return []
            number += 900 * zeros
        found.append(number)
    return found


def _size(number: int) -> int:
    """Bytes that a number needs with its sign; none for 0."""
    return (number if number >= 0 else ~number).bit_length() // 8 + 1 if number else 0


def _short(number: int) -> bytes:
    return number.to_bytes(_size(number), "big", signed=True)

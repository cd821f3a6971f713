"""What kind of number each metric is, as its message says."""

from functools import cache
from typing import Any

import msgspec

from labmon.messages import Readings


@cache
def _number(metric: str) -> Any:
    """msgspec's description of a metric's type."""
    found: Any = msgspec.inspect.type_info(Readings)
    (kinds,) = [one.type.types for one in found.fields if one.name == metric]
    return next(one for one in kinds if not isinstance(one, msgspec.inspect.NoneType))


def bounds_of(metric: str) -> tuple[float, float]:
    """The smallest and the largest value that a reading of a metric can have."""
    return _number(metric).ge, _number(metric).le


def is_real(metric: str) -> bool:
    """True for a metric that is stored as `real`; the others are whole numbers."""
    return isinstance(_number(metric), msgspec.inspect.FloatType)

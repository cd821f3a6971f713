"""A line of the kernel's table of routes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Route:
    """Where a span of addresses, as numbers of `labmon.scan.address`, is sent."""

    device: str | None  #: None when it goes through a router, or nowhere
    first: int
    last: int
    router: str | None = None
    outward: str = ""  #: the device towards the router

"""How far a sweep is, and what it could not do."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Progress:
    """Live counters. The sweep writes them; any other thread may read and draw them.

    `asked` and `total` count the questions of the present phase, and start again with the next.
    """

    phase: str = "starting"
    asked: int = 0
    total: int = 0
    found: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    """Addresses that this machine's own system would not send to, and its reason."""
    gaps: dict[str, None] = field(default_factory=dict)
    """Why machines that are there may have been missed, a line each, in order: then silence of an address
    does not mean that its machine is gone."""

    def start(self, phase: str, total: int) -> None:
        """Begin a phase of `total` questions."""
        self.phase, self.asked, self.total = phase, 0, total

    def refusals(self) -> list[str]:
        """One line for each reason in `refused`, with the number of addresses and one of them."""
        examples = {reason: address for address, reason in self.refused.items()}
        return [
            f"{examples[reason]} could not be asked: {reason}"
            if count == 1
            else f"{count:,} addresses could not be asked, such as {examples[reason]}: {reason}"
            for reason, count in Counter(self.refused.values()).most_common()
        ]

"""One line of the table: what was measured, what was asked, what was seen."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """A model or a use of one, measured.

    ``seen`` is what is printed, the median over seeds where there are several; ``numbers`` has the values of each seed.
    ``reached`` is None where nothing is asked, or where what it is compared with is not installed.
    """

    what: str
    asked: str
    seen: str
    reached: bool | None
    seconds: float
    numbers: dict[str, Any] = field(default_factory=dict)

"""What a person may choose about one texture."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

METHODS = ("auto", "patch")
SMALLEST_SIDE = 32
LARGEST_SIDE = 8192
LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True)
class Parameters:
    """The choices for one texture.

    width, height: size of the result in pixels, 32 to 8192 each.
    seed: 0 to 2**31 - 1. The same seed on the same machine gives the same bytes.
    source_width: pixels the first source is resized to before synthesis (the others get the same area), 32 to 8192;
        None keeps the source's size unless its area is larger than the result's. It sets the size of the features.
    method: "patch" is the weight-free method; "auto" picks the best method at hand.

    Raises ValueError, naming the parameter, its value and what is allowed.
    """

    width: int = 256
    height: int = 256
    seed: int = 0
    source_width: int | None = None
    method: str = "auto"

    def __post_init__(self) -> None:
        check_range("width", self.width, SMALLEST_SIDE, LARGEST_SIDE)
        check_range("height", self.height, SMALLEST_SIDE, LARGEST_SIDE)
        check_range("seed", self.seed, 0, LARGEST_SEED)
        if self.source_width is not None:
            check_range("source_width", self.source_width, SMALLEST_SIDE, LARGEST_SIDE)
        if self.method not in METHODS:
            raise ValueError(f"method is {self.method!r}; it must be one of: {', '.join(METHODS)}")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "Parameters":
        """Parameters from decoded JSON; absent keys take their defaults, unknown ones are an error (ValueError)."""
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ValueError(f"unknown parameter {unknown[0]!r}; known parameters: {', '.join(known)}")
        return cls(**values)


def check_range(name: str, value: object, low: int, high: int) -> None:
    """Raise ValueError unless `value` is a whole number from `low` to `high` (true and false are not numbers)."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} is {value!r}; it must be a whole number from {low} to {high}")

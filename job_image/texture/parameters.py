"""What a person may choose about one texture."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

from .vgg import LAYERS, layer

METHODS = ("auto", "patch", "swatch", "snelgrove", "gatys", "style")
SEAMLESS = ("both", "x", "y", "none")
PADDINGS = ("valid", "same")
STARTS = ("noise", "symmetric", "patches")
JOINS = ("average", "max", "log_euclidean", "affine_invariant", "riemann")
DISTANCES = ("l2", "lap1")
BITS = (8, 16)
SMALLEST_SIDE = 32
LARGEST_SIDE = 8192
LARGE = 2048 * 2048
"""Pixels above which memory, and the time that a stopped run is given, count more than the last bit of speed."""
LARGEST_SEED = 2**31 - 1
MOST_ITERATIONS = 100_000
MOST_OCTAVES = 9
MOST_FRAMES = 64


@dataclass(frozen=True)
class Parameters:
    """The choices for one texture.

    width, height: size of the result in pixels, 32 to 8192 each.
    seed: 0 to 2**31 - 1. The same seed on the same machine gives the same bytes.
    source_width: pixels the first source is resized to before synthesis (the others get the same area; with the classic
        methods and with frames the same width), 32 to 8192; None keeps the source's size, but "patch" and "swatch"
        shrink one of a larger area than the result's to that area. It sets the size of the features.
    source_scale: the same as a factor, of each source's own width; not beside source_width.
    method: "patch" needs no network weights; "swatch", "snelgrove", "gatys" and "style" match statistics of VGG-19;
        "auto" is "swatch" where there are weights, otherwise "patch".
    seamless: the edges that continue at the opposite edge: "x" the left one at the right, "y" the top one at the
        bottom, "both", or "none". None: both for "patch" and "swatch" with "valid" padding, otherwise none.
    layers: of VGG-19, by name (conv3_2) or number (7); None: those of the method.
    octaves: scales at which the layers look, each half the size of the one before; None: those of the method.
    iterations: most steps of the optimiser at full size; None: those of the method.
    tolerance: the share of the loss by which a step must lower it, and the largest slope at which all is done.
    padding: "valid" or "same" convolutions where the picture does not wrap.
    join: how the Gram matrices of several sources become one (see `joining`).
    multiply: what the joined Gram matrices are multiplied by.
    start: "noise", or "symmetric": noise that is its own mirror image; for "swatch" also "patches": what the
        weight-free method makes of the source at a coarse size.
    content_weight: for "style": how much the content counts beside the style.
    count: frames made at once, each tied to the next and the last to the first. They make a looping video.
    frame_weight, frame_shift, frame_order, frame_distance, frame_octaves: how much the tie counts; how many pixels of
        movement it imitates; how many frames further it reaches; whether it compares pixels ("l2") or bands ("lap1");
        and at how many octaves (None: all).
    bits: of a sample in the result's file, 8 or 16.

    Raises ValueError, naming the parameter, its value and what is allowed.
    """

    width: int = 256
    height: int = 256
    seed: int = 0
    source_width: int | None = None
    source_scale: float | None = None
    method: str = "auto"
    seamless: str | None = None
    layers: tuple[str, ...] | None = None
    octaves: int | None = None
    iterations: int | None = None
    tolerance: float = 1e-9
    padding: str = "valid"
    join: str = "average"
    multiply: float = 1.0
    start: str = "noise"
    content_weight: float = 1.0
    count: int = 1
    frame_weight: float = 1.0
    frame_shift: float = 5.0
    frame_order: int = 2
    frame_distance: str = "lap1"
    frame_octaves: int | None = None
    bits: int = 8

    def __post_init__(self) -> None:
        check_range("width", self.width, SMALLEST_SIDE, LARGEST_SIDE)
        check_range("height", self.height, SMALLEST_SIDE, LARGEST_SIDE)
        check_range("seed", self.seed, 0, LARGEST_SEED)
        if self.source_width is not None:
            check_range("source_width", self.source_width, SMALLEST_SIDE, LARGEST_SIDE)
            if self.source_scale is not None:
                raise ValueError("source_width and source_scale are both given; give one of them")
        if self.source_scale is not None:
            check_number("source_scale", self.source_scale, 0.01, 100)
        check_choice("method", self.method, METHODS)
        if self.seamless is not None:
            check_choice("seamless", self.seamless, SEAMLESS)
        if self.layers is not None:
            object.__setattr__(self, "layers", checked_layers(self.layers))
        for name, most in (("octaves", MOST_OCTAVES), ("iterations", MOST_ITERATIONS), ("frame_octaves", MOST_OCTAVES)):
            if getattr(self, name) is not None:
                check_range(name, getattr(self, name), 1, most)
        check_number("tolerance", self.tolerance, 0, 1)
        check_choice("padding", self.padding, PADDINGS)
        check_choice("join", self.join, JOINS)
        check_number("multiply", self.multiply, 1e-6, 1e6)
        check_choice("start", self.start, STARTS)
        check_number("content_weight", self.content_weight, 0, 1e9)
        check_range("count", self.count, 1, MOST_FRAMES)
        check_number("frame_weight", self.frame_weight, 0, 1e9)
        check_number("frame_shift", self.frame_shift, 0, LARGEST_SIDE)
        check_range("frame_order", self.frame_order, 1, MOST_FRAMES)
        check_choice("frame_distance", self.frame_distance, DISTANCES)
        if self.bits not in BITS:
            raise ValueError(f"bits is {self.bits!r}; it must be 8 or 16")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "Parameters":
        """Parameters from decoded JSON; absent keys take their defaults, unknown ones are an error (ValueError)."""
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ValueError(f"unknown parameter {unknown[0]!r}; known parameters: {', '.join(known)}")
        return cls(**values)


def checked_layers(layers: object) -> tuple[str, ...]:
    """The layers' names. Raises ValueError unless they are a list of VGG-19's layers, one or more."""
    if not isinstance(layers, list | tuple) or not 1 <= len(layers) <= len(LAYERS):
        raise ValueError(f"layers is {layers!r}; it must be a list of 1 to {len(LAYERS)} of VGG-19's layers")
    for one in layers:
        if isinstance(one, bool) or not isinstance(one, str | int):
            raise ValueError(f"layers holds {one!r}; each must be a name like conv3_2 or a number like 7")
    return tuple(layer(one).name for one in layers)


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; it must be one of: {', '.join(choices)}")


def check_number(name: str, value: object, low: float, high: float) -> None:
    """Raise ValueError unless `value` is a finite number from `low` to `high` (true and false are not numbers)."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"{name} is {value!r}; it must be a number")
    if not low <= cast(float, value) <= high:
        raise ValueError(f"{name} is {value!r}; it must be from {low:g} to {high:g}")


def check_range(name: str, value: object, low: int, high: int) -> None:
    """Raise ValueError unless `value` is a whole number from `low` to `high` (true and false are not numbers)."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} is {value!r}; it must be a whole number from {low} to {high}")

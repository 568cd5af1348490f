"""The classic methods: statistics of VGG-19 matched by one descent on the whole picture.

- `snelgrove`: Snelgrove (High-Resolution Multi-Scale Neural Texture Synthesis, 2017), the program
  subjective-functions: Gram matrices of a few layers at all octaves of a Gaussian pyramid at once.
- `gatys`: Gatys, Ecker and Bethge (Texture Synthesis Using Convolutional Neural Networks, 2015): one octave, five
  layers, colours bounded by the source's and matched to them in the end.
- `style`: the same authors' A Neural Algorithm of Artistic Style (2015): the Gram matrices of one picture and the
  features of another.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import aims, frames, images, levels
from .backend import to_numpy
from .course import Stand, State, named, number, whole
from .images import Pixels
from .lbfgs import LBFGS, remembered
from .levels import Size
from .network import Network, from_rgb, to_rgb
from .novelty import Novelty, NoveltyDistance
from .objective import Content, Distance, Extra
from .parameters import Parameters
from .patchwork import wrapping
from .randomness import Stage, generator
from .rhythm import Rhythm
from .start import blurred, mirrored
from .statistics import GramDistance, View
from .vgg import LAYERS, MEAN, deepest, layer, multiply_adds

EVALUATIONS = 1.15
"""Evaluations an iteration takes on average, for the estimate of the time left."""


@dataclass(frozen=True)
class Preset:
    """What a method chooses where a person did not.

    weight: of a place's squared Frobenius distance, all places alike. iterations: at most. memory: steps that L-BFGS
    remembers, at most. bounded: whether each channel stays between the source's extremes. content: the layer whose
    features the content keeps, and their weight.
    """

    layers: tuple[str, ...]
    octaves: int
    weight: float
    iterations: int
    memory: int
    bounded: bool = False
    content: tuple[str, float] | None = None


PRESETS = {
    "snelgrove": Preset(("pool1", "conv3_2"), 4, 1.0, 500, 10),
    # The paper's loss is of sums over places, w / (4 N^2 M^2) for N channels and M places; ours is of averages, divided
    # by the channels already, which leaves w / 4. The size of w only scales everything.
    "gatys": Preset(("conv1_1", "pool1", "pool2", "pool3", "pool4"), 1, 0.25, 2000, 20, bounded=True),
    # Each of five layers has w = 1/5; the content counts a thousandth (alpha / beta in the paper).
    "style": Preset(
        ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"), 1, 0.05, 500, 10, content=("conv4_2", 1e-3)
    ),
}
SMOOTHNESS = 50
"""Pixels: deviation of the blur of a symmetric start, as subjective-functions has it."""
BLOTS = 28.0
"""Grey levels: deviation of its soft blots, about what subjective-functions' factors come to."""


class Descent:
    """The course of a classic method, of frames tied to each other, and of novelty (see `course.Course`).

    sources: in [0, 1]; none for novelty. content: the picture whose content is kept.
    Raises ValueError when the parameters do not fit the sources.
    """

    def __init__(
        self,
        sources: Sequence[Pixels],
        parameters: Parameters,
        network: Network,
        alive: Callable[[], None],
        content: Pixels | None = None,
        novelty: Novelty | None = None,
    ) -> None:
        method = parameters.method if parameters.method in PRESETS and not novelty else "snelgrove"
        preset = PRESETS[method]
        self.parameters, self.preset, self.network, self.alive = parameters, preset, network, alive
        self.name = f"{'novelty' if novelty else method}/1"
        across, down = wrapping(parameters)
        self.wraps = (down, across)
        self.layers = chosen_layers(parameters, preset.layers)
        self.sources = [
            images.resize(source, *size) for source, size in zip(sources, sizes(sources, parameters), strict=True)
        ]
        octaves = parameters.octaves or preset.octaves
        looked = self.layers
        if preset.content and content is not None:
            looked = tuple(dict.fromkeys((*looked, layer(preset.content[0]))))
        asked = parameters.width, parameters.height
        shapes = [(source.shape[1], source.shape[0]) for source in self.sources]
        self.size, octaves = aims.extent(asked, looked, octaves, shapes, self.wraps, parameters.padding)
        places = aims.places(looked, range(octaves), self.size, shapes, self.wraps, parameters.padding)
        if preset.content and content is not None:  # looked at for its features, and only once
            kept = layer(preset.content[0])
            places = tuple(one for one in places if one.layer in self.layers or one.octave == 0)
            if not any(one.octave == 0 and one.layer == kept for one in places):
                smallest = min([self.size, *shapes], key=min)
                raise ValueError(f"{named(smallest)} pixels are too few for {kept.name}, which keeps the content")
        self.view = View(places, self.wraps, parameters.padding)
        self.levels, self.rhythm, self.covered = [named(self.size)], Rhythm(), 0.0
        self.iterations = parameters.iterations or preset.iterations
        self.shape = (parameters.count, self.size[1], self.size[0], 3)
        self.work = evaluation_work(self.view, self.size) * parameters.count * EVALUATIONS
        self.total = self.work * self.iterations
        inputs = [from_rgb(source) for source in self.sources]
        distance: Distance
        wanted: Sequence[Any] = ()
        if novelty:
            distance = NoveltyDistance(places, parameters.multiply, *novelty)
        else:
            weights = tuple(preset.weight if one.layer in self.layers else 0.0 for one in places)
            distance = GramDistance(weights)
            wanted = aims.targets(network, self.view, inputs, parameters.join, parameters.multiply)
        self.objective = aims.objective(network, self.view, distance, wanted, self.shape)
        self.objective.alive = alive
        if preset.content and content is not None:
            self.objective.content = self.kept(content, layer(preset.content[0]), preset.content[1])
        if parameters.count > 1 and not novelty:
            self.objective.extras = [self.tie(inputs)]
        self.bounds = None
        if preset.bounded:
            colours = np.concatenate([one.reshape(-1, 3) for one in inputs])
            self.bounds = colours.min(0), colours.max(0)
        self.loss, self.evaluations = 0.0, 0

    def kept(self, content: Pixels, at: Any, weight: float) -> Content:
        """The features that the content has at the picture's own size."""
        picture = from_rgb(images.resize(content, *self.size))[None]
        place = next(i for i, one in enumerate(self.view.places) if one.octave == 0 and one.layer == at)
        return Content(place, self.objective.features(picture, place), weight * self.parameters.content_weight)

    def tie(self, inputs: Sequence[Pixels]) -> Extra:
        """What holds the frames together."""
        asked = self.parameters
        distance = frames.target(
            [one[None] for one in inputs], asked.frame_shift, asked.frame_distance, asked.frame_octaves
        )
        return frames.Tie(
            target=distance,
            weight=asked.frame_weight,
            order=asked.frame_order,
            kind=asked.frame_distance,
            octaves=asked.frame_octaves,
            wraps=self.wraps,
        )

    def begun(self) -> Pixels:
        """The picture the descent begins with, as the network sees it.

        As subjective-functions begins: noise of deviation 1 about a nearly black 10; or, symmetric, soft mirrored
        blots. The two papers' methods begin with noise about the middle grey, as wide as pictures are.
        """
        draws = generator(self.parameters.seed, Stage.START)
        noise = draws.standard_normal(self.shape).astype(np.float32)
        if self.parameters.start == "symmetric":
            blots = np.stack([blurred(mirrored(frame), SMOOTHNESS) for frame in noise])
            blots *= BLOTS / blots.std()
            soft: Pixels = (blots + 2 * draws.standard_normal(self.shape)).astype(np.float32)
            return soft
        if self.preset is PRESETS["snelgrove"]:
            dark: Pixels = (noise + 10 - np.array(MEAN)).astype(np.float32)
            return dark
        grey: Pixels = (30 * noise).astype(np.float32)
        return grey

    def stands(self, saved: State | None) -> Iterator[Stand]:
        """See `course.Course`."""
        how: dict[str, Any] = {"memory": remembered(self.preset.memory, math.prod(self.shape)), "bounds": self.bounds}
        iteration, ended = number(saved, "iteration"), bool(number(saved, "ended"))
        if saved is None:
            descent = LBFGS(self.objective, self.begun(), **how)
        else:
            descent = LBFGS.restored(saved, self.objective, **how)
        fresh, saved = saved is None, None  # a state is as large as all that is remembered
        if fresh or ended:  # ended: stopped while the files were written
            yield self.stand(descent, iteration, ended)
        while not ended:
            before = descent.loss
            moved = descent.iterate()
            iteration += 1
            small = before - descent.loss <= self.parameters.tolerance * max(abs(before), abs(descent.loss), 1.0)
            ended = not moved or small or iteration == self.iterations or descent.slope() <= self.parameters.tolerance
            yield self.stand(descent, iteration, ended)

    def stand(self, descent: LBFGS, iteration: int, ended: bool) -> Stand:
        """Where the descent stands."""
        self.loss, self.evaluations = descent.loss, descent.evaluations
        now = copy(descent)  # which goes on; this stand does not
        return Stand(
            self.levels[0],
            iteration,
            self.total if ended else self.work * iteration,
            descent.loss,
            lambda: self.shown(to_numpy(now.point), ended),
            lambda: {**now.state(), "iteration": whole(iteration), "ended": whole(ended)},
            ended,
        )

    def shown(self, pictures: Pixels, ended: bool) -> list[Pixels]:
        """The frames as pictures of the asked size."""
        found = []
        for frame in to_rgb(pictures):
            if ended and self.preset.bounded:
                frame = matched_colours(frame, self.sources)
            frame = images.resize_torus(frame, self.parameters.width, self.parameters.height)
            found.append(np.clip(frame, 0, 1).astype(np.float32))
        return found

    def report(self) -> dict[str, Any]:
        """See `course.Course`."""
        return {
            "layers": [one.name for one in self.layers],
            "octaves": sorted({place.octave for place in self.view.places}),
            "losses": {self.levels[0]: float(f"{self.loss:.6g}")},
            "loss": float(f"{self.loss:.6g}"),
            "evaluations": self.evaluations,
            "tile": self.objective.tile,
        }


def chosen_layers(parameters: Parameters, preset: tuple[str, ...]) -> tuple[Any, ...]:
    """The layers asked for, in the network's order, each once. Raises ValueError for one that VGG-19 lacks."""
    return tuple(sorted({layer(one) for one in parameters.layers or preset}, key=LAYERS.index))


def sizes(sources: Sequence[Pixels], parameters: Parameters) -> list[Size]:
    """The sizes at which classic methods see their sources: their own, unless asked otherwise."""
    own = [(source.shape[1], source.shape[0]) for source in sources]
    if parameters.source_scale is not None:
        return [levels.times(size, parameters.source_scale) for size in own]
    if parameters.source_width is not None:
        return [levels.times(size, parameters.source_width / size[0]) for size in own]
    return own


def evaluation_work(view: View, size: Size) -> float:
    """Multiply-adds of a loss and its gradient: the network forward, and backward to its input."""
    total = 0.0
    for octave in range(view.octaves):
        layers = view.layers(octave)
        if layers:
            total += 2 * multiply_adds(deepest(layers)) * size[0] * size[1] / 4**octave
            total += sum(3 * one.channels**2 * size[0] * size[1] / one.stride**2 / 4**octave for one in layers)
    return total


def matched_colours(picture: Pixels, sources: Sequence[Pixels]) -> Pixels:
    """The picture with each channel's values moved, in their order, to the distribution of the sources' channel."""
    matched = np.empty_like(picture)
    for channel in range(3):
        wanted = np.sort(np.concatenate([source[..., channel].ravel() for source in sources]))
        values = picture[..., channel].ravel()
        ranks = np.empty(values.size)
        ranks[np.argsort(values, kind="stable")] = (np.arange(values.size) + 0.5) / values.size
        places = (np.arange(wanted.size) + 0.5) / wanted.size
        matched[..., channel] = np.interp(ranks, places, wanted).reshape(picture.shape[:2])
    return matched

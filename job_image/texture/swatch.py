"""The default method where there are weights: VGG-19's statistics matched coarse to fine on the device.

It begins as noise with the source's colours and spectrum, and in phase what repeats in a regular source; or, if asked,
with what patch matching makes at a coarse size. Each level matches the statistics of all octaves from its own down. A
finished level is carried to the next so that it stays what the coarse octaves of the larger picture show, and only what
is finer begins as noise. A few sliced-Wasserstein steps end it.

The picture wraps, or ends, along each axis as asked; sources are never taken to wrap.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from . import aims, images, levels, pyramid, sliced, start
from .backend import to_numpy
from .course import Stand, State, named, number, whole
from .descent import chosen_layers, evaluation_work
from .images import Pixels
from .lbfgs import LBFGS, remembered
from .metric import ScaledDistance, responses, scaled
from .network import Network, from_rgb, to_rgb
from .objective import Extra, Objective
from .parameters import Parameters
from .patchwork import Patchwork, finish_work, finishing_state, wrapping
from .spectrum import Spectrum
from .statistics import Place, View

METHOD = "swatch/4"
LAYERS = ("pool1", "conv3_2")
OCTAVES = 4
ITERATIONS = 60
COARSER, GROWTH = 8, 4
"""Iterations at the level half as large, and how many times more each smaller one has: they cost a quarter each, and
the coarse octaves, with few places to look at, converge slowest."""
ROUGH = 20
"""Iterations at full size, and all at smaller ones but the coarsest, that are made as fast as the device can compute
(see `network.Network.rough`): far from the end a gradient that is off by 2% leads down as well. To the end it does not:
the loss stayed at 1,708 where float32 reached 954. The coarsest level goes so near its end that line searches fail."""
COARSEST_SIDE = 48
"""Shorter side in pixels that the coarsest level has at least: below it, patches alone are as good."""
MOMENTS = 0.05
"""Weight of means and deviations beside the Gram matrices."""
REGULARITY = 0.1
"""Weight of the spectrum of a regular source: its term begins as this share of the loss."""
MEMORY = 40
"""Steps that L-BFGS remembers. In evaluations until subjective-functions' loss after 300 iterations is reached (bark,
256 pixels): 194 with 10, 171 with 20, 152 with 40, 135 with 100."""
FIRST_STEP = 1.0
"""Root mean square of the first step tried, in grey levels."""
FINISH_STEPS = 8
FINISH_RATE = (0.012, 0.002)


class Swatch:
    """The course of the default method (see `course.Course`). Raises ValueError when parameters and sources do not fit.

    sources: in [0, 1].
    """

    name = METHOD

    def __init__(
        self, sources: Sequence[Pixels], parameters: Parameters, network: Network, alive: Callable[[], None]
    ) -> None:
        self.parameters, self.network, self.alive = parameters, network, alive
        across, down = wrapping(parameters)
        self.wraps = (down, across)
        self.layers = chosen_layers(parameters, LAYERS)
        asked = parameters.width, parameters.height
        shapes = levels.source_sizes([(source.shape[1], source.shape[0]) for source in sources], parameters)
        self.size, octaves = aims.extent(
            asked, self.layers, parameters.octaves or OCTAVES, shapes, self.wraps, parameters.padding
        )
        self.patchwork = Patchwork(sources, replace(parameters, width=self.size[0], height=self.size[1]), alive)
        self.sources = self.patchwork.sources
        self.material, self.covered = self.patchwork.material, self.patchwork.covered
        inputs = [from_rgb(source) for source in self.material]
        shapes = tuple((source.shape[1], source.shape[0]) for source in self.sources)
        places = aims.places(self.layers, range(octaves), self.size, shapes, self.wraps, parameters.padding)
        self.view = View(places, self.wraps, parameters.padding)
        self.targets = scaled(
            aims.targets(network, self.view, inputs, parameters.join, parameters.multiply),
            responses(network, self.view, inputs, parameters.seed),
        )
        self.scales = [0]
        while self.scales[-1] + 1 < self.view.octaves and min(self.side(self.scales[-1] + 1)) >= COARSEST_SIDE:
            self.scales.append(self.scales[-1] + 1)
        self.scales.reverse()
        self.rhythm = self.patchwork.rhythm
        self.iterations = parameters.iterations or ITERATIONS
        coarsest = self.side(self.scales[0])
        self.patched = next(one.index for one in self.patchwork.schedule if min(one.size) >= min(coarsest))
        matched = self.patchwork.schedule[: self.patched + 1] if parameters.start == "patches" else []
        self.levels = self.patchwork.levels[: len(matched)] + [named(self.side(scale)) for scale in self.scales]
        self.patching = sum(self.patchwork.matching[level.index] * level.iterations for level in matched)
        self.work = {scale: evaluation_work(self.shown_places(scale), self.side(scale)) for scale in self.scales}
        self.finishing = finish_work(self.patchwork.schedule[-1])
        self.total = self.patching + self.finishing * FINISH_STEPS
        self.total += sum(self.work[scale] * self.steps(scale) for scale in self.scales)
        self.losses: dict[str, float] = {}
        self.evaluations = 0
        self.noises: dict[int, Any] = {}

    def side(self, scale: int) -> tuple[int, int]:
        """The picture's size (width, height) after halving so often."""
        down, across = self.wraps
        padding = self.parameters.padding
        return pyramid.side(self.size[0], scale, across, padding), pyramid.side(self.size[1], scale, down, padding)

    def steps(self, scale: int) -> int:
        """Iterations at a level."""
        return min(COARSER * GROWTH ** (scale - 1), 8 * self.iterations) if scale else self.iterations

    def shown_places(self, scale: int) -> View:
        """What a level's picture is looked at for: the octaves from its own on."""
        return View(
            tuple(Place(one.octave - scale, one.layer) for one in self.view.places if one.octave >= scale),
            self.wraps,
            self.parameters.padding,
        )

    def rough_steps(self, scale: int) -> int:
        """Iterations of a level that may be rough ones."""
        if self.network.rough is self.network or (scale == self.scales[0] and scale):
            return 0
        return self.steps(scale) if scale else min(ROUGH, self.steps(scale) - 1)

    def objective(self, scale: int, rough: bool, extras: Sequence[Extra]) -> Objective:
        """The loss at a level. rough: whether its network may compute as fast as it can."""
        view = self.shown_places(scale)
        wanted = [aim for place, aim in zip(self.view.places, self.targets, strict=True) if place.octave >= scale]
        width, height = self.side(scale)
        network = self.network.rough if rough else self.network
        made = aims.objective(network, view, ScaledDistance(MOMENTS), wanted, (1, height, width, 3))
        made.extras, made.alive = extras, self.alive
        return made

    def stands(self, saved: State | None) -> Iterator[Stand]:
        """See `course.Course`."""
        if saved is not None and "losses" in saved:
            sizes = [named(self.side(scale)) for scale in self.scales]
            self.losses = {size: float(one) for size, one in zip(sizes, saved["losses"], strict=False)}
            self.evaluations = number(saved, "spent")
        stage = "patches" if saved is None else str(saved["stage"])
        picture = None
        if stage == "patches":
            patches = self.parameters.start == "patches"
            picture = (yield from self.patched_start(saved)) if patches else (yield from self.noise_start())
            saved = None
        done = self.patching
        first = len(self.scales) if stage == "finish" else number(saved, "level")
        for at, scale in enumerate(self.scales):
            if at >= first:
                level, saved = self.descended(at, scale, picture, saved, done), None
                picture = yield from level
            done += self.work[scale] * self.steps(scale)
        yield from self.finished(saved, picture, done)

    def noise(self, scale: int) -> Any:
        """A level of the noise that the picture begins with, as the network sees it: one field at every scale, with
        the sources' colours and spectrum, and in phase what repeats in a regular source. Each level is taken once, from
        the coarsest on: those left are kept, for the field is found for all at once."""
        if scale not in self.noises:
            self.noises = dict(enumerate(self.whole_noise(scale)))
        return self.noises.pop(scale)

    def whole_noise(self, scale: int) -> Sequence[Any]:
        """Its levels up to that one."""
        # The rhythm is that of the patches' torus, which is larger along an axis that ends.
        torus = start.picture(self.material, self.patchwork.torus, self.parameters.seed, self.rhythm)
        whole_field = torus[: self.size[1], : self.size[0]]
        if self.parameters.start == "symmetric":
            whole_field = start.mirrored(whole_field)
        return pyramid.octaves(from_rgb(whole_field)[None], scale + 1, self.wraps, self.parameters.padding)

    def noise_start(self) -> Any:
        """The coarsest level of the noise; returns it."""
        scale = self.scales[0]
        begun = to_numpy(self.noise(scale))
        yield Stand(named(self.side(scale)), 0, 0.0, 0.0, partial(self.shown_frames, begun, scale), dict)
        return begun

    def patched_start(self, saved: State | None) -> Any:
        """The coarse start, by patches; returns it as the coarsest level's picture, as the network sees it."""
        rising = self.patchwork.matched(saved, self.patched)
        try:
            while True:
                stand = next(rising)
                yield stand._replace(state=partial(staged, "patches", stand.state)) if stand.iteration else stand
        except StopIteration as ended:
            picture = ended.value
        scale = self.scales[0]
        width, height = self.side(scale)
        share = self.patchwork.schedule[self.patched].size[0] / self.patchwork.torus[0]
        cut = self.patchwork.cut(picture, share)
        return from_rgb(images.resize_torus(cut, width, height))[None]

    def entered(self, scale: int, smaller: Pixels) -> Any:
        """A level's first picture from the one before: `smaller` itself at the coarsest."""
        if scale == self.scales[0]:
            return smaller
        return pyramid.refined(self.noise(scale), smaller, self.wraps, self.parameters.padding)

    def source_side(self, scale: int) -> tuple[int, int]:
        """The size (width, height) of the first source at a level."""
        height, width = self.sources[0].shape[:2]
        return max(1, width >> scale), max(1, height >> scale)

    def descended(self, at: int, scale: int, smaller: Any, saved: State | None, done: float) -> Any:
        """One level's descent; returns its picture, as the network sees it. smaller: that of the level before."""
        point = None if saved is not None else self.entered(scale, smaller)
        width, height = self.side(scale)
        rough = bool(self.rough_steps(scale) if saved is None else saved["rough"])
        extras: list[Extra] = []
        objective = self.objective(scale, rough, extras)
        if saved is not None:  # tiles round a little differently, and memory may be another now
            objective.tile = number(saved, "tile") or None
        weight = 0.0
        if self.rhythm and all(self.wraps):
            small = images.resize(self.material[0], *self.source_side(scale))
            term = Spectrum(from_rgb(small), (width, height), 1.0)
            if saved is None:
                loss, apart = objective(point)[0], term(point)[0]
                weight = REGULARITY * loss / max(apart, 1e-6)
            else:
                weight = float(saved["weight"])
            term.weight = weight
            extras.append(term)
        how: dict[str, Any] = {
            "memory": remembered(MEMORY, 3 * width * height),
            "first": FIRST_STEP * np.sqrt(3 * width * height),
        }
        descent = LBFGS.restored(saved, objective, **how) if saved is not None else LBFGS(objective, point, **how)
        iteration, steps, size = number(saved, "iteration"), self.steps(scale), named((width, height))
        earlier, ended = self.earlier(size), bool(number(saved, "ended"))
        del saved  # as large as all that is remembered
        while not ended:
            before = descent.loss
            moved = descent.iterate()
            iteration += 1
            stuck = not moved or before - descent.loss <= self.parameters.tolerance * max(before, 1.0)
            ended = iteration == steps or (stuck and not rough)
            if rough and not ended and (stuck or iteration >= self.rough_steps(scale)):
                rough, tile = False, objective.tile
                objective = self.objective(scale, rough, extras)
                objective.tile = tile
                descent.turn(objective)
            self.losses[size] = descent.loss
            now = copy(descent)  # which goes on; this stand does not
            yield Stand(
                size,
                earlier + iteration,
                done + self.work[scale] * (steps if ended else iteration),
                descent.loss,
                partial(self.shown_frames, now.point, scale),
                partial(descent_state, now, (at, iteration, ended, rough, objective.tile or 0), weight, self.sofar()),
                ended,
            )
        self.evaluations += descent.evaluations
        return to_numpy(descent.point)

    def sofar(self) -> State:
        """What the report will tell of the levels before, as part of a state."""
        return {"losses": np.array(list(self.losses.values())), "spent": whole(self.evaluations)}

    def earlier(self, size: str) -> int:
        """Iterations at a size before its descent begins: where the patches come in full size already."""
        matched = self.patchwork.schedule[: self.patched + 1] if self.parameters.start == "patches" else []
        return sum(level.iterations for level in matched if self.patchwork.levels[level.index] == size)

    def finished(self, saved: State | None, picture: Any, done: float) -> Iterator[Stand]:
        """The finish: colours and grain as the source has them."""
        sources = self.patchwork.symmetric_range()
        how: dict[str, Any] = {"steps": FINISH_STEPS, "rate": FINISH_RATE}
        if saved is None:
            finish = sliced.Finish(sources, 2 * to_rgb(picture[0]) - 1, self.parameters.seed, **how)
        else:
            finish = sliced.Finish.restored(sources, saved, self.parameters.seed, **how)
        first = number(saved, "iteration")
        if saved is not None and first == FINISH_STEPS:  # stopped while the files were written
            yield self.polished(finish, first, done, float(saved["loss"]))
        for iteration in range(first, FINISH_STEPS):
            loss = finish.step(iteration, self.alive)
            yield self.polished(finish, iteration + 1, done, loss)

    def polished(self, finish: sliced.Finish, steps: int, done: float, loss: float) -> Stand:
        """Where the course stands after so many steps of the finish. done: the work before it."""
        now, size = copy(finish), named(self.size)
        return Stand(
            size,
            self.earlier(size) + self.steps(0) + steps,
            done + self.finishing * steps,
            loss,
            lambda: [self.fitted((now.picture() + 1) / np.float32(2))],
            partial(staged, "finish", lambda: {**finishing_state(now, steps, loss), **self.sofar()}),
            steps == FINISH_STEPS,
        )

    def shown_frames(self, picture: Any, scale: int) -> list[Pixels]:
        """A level's picture in [0, 1]; at full size, of the size asked for."""
        pixels = to_rgb(to_numpy(picture)[0])
        return [self.fitted(pixels) if scale == 0 else np.clip(pixels, 0, 1)]

    def fitted(self, pixels: Pixels) -> Pixels:
        """A full-size picture in [0, 1], of the size asked for."""
        fitted = images.resize_torus(pixels, self.parameters.width, self.parameters.height)
        return np.clip(fitted, 0, 1).astype(np.float32)

    def report(self) -> dict[str, Any]:
        """See `course.Course`."""
        return {
            "periods": list(self.rhythm.torus),
            "covered": round(self.covered, 4),
            "layers": [one.name for one in self.layers],
            "octaves": sorted({place.octave for place in self.view.places}),
            "losses": {size: float(f"{loss:.6g}") for size, loss in self.losses.items()},
            "loss": float(f"{list(self.losses.values())[-1]:.6g}") if self.losses else None,
            "evaluations": self.evaluations,
        }


def staged(stage: str, state: Callable[[], State]) -> State:
    """A state that tells which stage it is of."""
    return {**state(), "stage": np.array(stage)}


def descent_state(descent: LBFGS, at: tuple[int, ...], weight: float, sofar: State) -> State:
    """Where a level's descent goes on. at: level, iteration, whether it has ended, whether its loss and gradient are
    rough, and the side of its tiles (0 for none). weight: of its spectrum term. sofar: see `Swatch.sofar`."""
    counts = dict(zip(("level", "iteration", "ended", "rough", "tile"), map(whole, at), strict=True))
    return {**descent.state(), **sofar, **counts, "weight": np.asarray(weight), "stage": np.array("descent")}

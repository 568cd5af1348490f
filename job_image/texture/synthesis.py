"""One texture from its sources to its report: the levels, the finish, and the files written on the way."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import images, levels, progress, report, sliced, start
from .checkpoint import METHOD, Checkpoint, State
from .equaliser import equalised
from .images import Pixels
from .levels import Level
from .parameters import Parameters
from .patches import Matcher
from .quality import measure
from .regularity import regularity
from .rhythm import Rhythm, fit

Tell = Callable[[dict[str, Any]], None]


SIDE_BY_SIDE = "several sources: measured against all of them side by side, joins included, so take it as a hint"
"""There is no single look that a mixture of sources should have."""


class Synthesis:
    """The making of one texture.

    folder: where its files go. sources: in [0, 1], as read. identity: see `checkpoint.fingerprint`. tell: receives
    progress. alive: called many times a second; raises to stop the run, which loses no more than the level at hand.

    Raises ValueError when the parameters do not fit the sources.
    """

    def __init__(
        self,
        folder: Path,
        sources: Sequence[Pixels],
        parameters: Parameters,
        checkpoint: Checkpoint,
        tell: Tell,
        alive: Callable[[], None],
    ) -> None:
        self.folder, self.parameters, self.checkpoint = folder, parameters, checkpoint
        self.tell, self.alive = tell, alive
        sizes = levels.source_sizes([(source.shape[1], source.shape[0]) for source in sources], parameters)
        self.rhythm, coarsest = Rhythm(), levels.COARSEST_SIDE
        if len(sources) == 1:  # several sources would need one rhythm in common
            torus = parameters.width, parameters.height
            self.rhythm, stretched = fit(images.resize(sources[0], *sizes[0]), torus)
            sizes = (stretched,)
            coarsest = max(coarsest, self.rhythm.coarsest(torus))
        self.sources = [images.resize(source, *size) for source, size in zip(sources, sizes, strict=True)]
        self.levels = levels.schedule(parameters.width, parameters.height, sizes, coarsest)
        self.seconds = {"em": 0.0, "finish": 0.0, "total": 0.0}

    def run(self) -> dict[str, Any]:
        """Make the texture and write its files: source, previews, texture, tiling and, last, the report. Returns how
        good the texture is, as `quality.measure` says it."""
        began = time.monotonic()
        # Killed half-way, files of this texture would otherwise lie beside a report that vouches for an earlier one.
        (self.folder / report.FILE).unlink(missing_ok=True)
        sheet = side_by_side(self.sources)
        images.write_png(self.folder / "source.png", sheet)
        saved = self.checkpoint.load() or State(0, np.zeros((0, 0, 3), dtype=np.float32))
        counter = progress.Progress(self.folder.name, self.levels, saved.levels, self.tell)
        sources = [2 * source - 1 for source in self.sources]
        picture = saved.picture
        for level in self.levels[saved.levels :]:
            picture = self._match(level, sources, picture, counter)
            images.write_png(self.folder / "previews" / f"{level.name}.png", (picture + 1) / np.float32(2))
            self.checkpoint.save(State(level.index + 1, picture))
        self.seconds["em"] = time.monotonic() - began
        picture, loss = self._finish(sources, picture, counter)
        texture = np.clip(equalised((picture + 1) / np.float32(2), self.sources), 0, 1).astype(np.float32)
        images.write_png(self.folder / "texture.png", texture)
        images.write_png(self.folder / "tiled.png", texture, copies=2)
        self.seconds["finish"] = time.monotonic() - began - self.seconds["em"]
        quality = measure(sheet, texture, self.parameters.seed)
        if len(self.sources) > 1:
            quality["reasons"] = [SIDE_BY_SIDE, *quality["reasons"]]
        if self.rhythm:
            quality["regularity"] = regularity(sheet, texture, self.rhythm)
        self.seconds["total"] = time.monotonic() - began
        made = {
            "method": METHOD,
            "seed": self.parameters.seed,
            "size": [self.parameters.width, self.parameters.height],
            "source_sizes": [[source.shape[1], source.shape[0]] for source in self.sources],
            "periods": list(self.rhythm.torus),
            "levels": [level.name for level in self.levels],
            "resumed_after_levels": saved.levels,
            "seconds": {stage: round(value, 3) for stage, value in self.seconds.items()},
            "loss": round(loss, 6),
            "quality": quality,
        }
        report.write(self.folder, self.checkpoint.identity, self.parameters, made)
        self.checkpoint.remove()
        return quality

    def _match(self, level: Level, sources: Sequence[Pixels], picture: Pixels, counter: progress.Progress) -> Pixels:
        """All iterations of one level; the first level ignores `picture` and begins with noise."""
        small = [images.resize(source, *size) for source, size in zip(sources, level.sources, strict=True)]
        if level.index == 0:
            picture = start.picture(small, level.size, self.parameters.seed, self.rhythm)
        else:
            picture = images.resize_torus(picture, *level.size)
        matcher = Matcher(small, level, self.parameters.seed, self.rhythm)
        for iteration in range(level.iterations):
            picture, loss = matcher.iterate(picture, iteration, self.alive)
            counter.advance(progress.iteration_work(level), level, loss)
        return picture

    def _finish(self, sources: Sequence[Pixels], picture: Pixels, counter: progress.Progress) -> tuple[Pixels, float]:
        """The finish at full size: the picture and its last loss."""
        finish = sliced.Finish(sources, picture, self.parameters.seed)
        loss = 0.0
        for number in range(sliced.STEPS):
            loss = finish.step(number, self.alive)
            counter.advance(progress.finish_work(self.levels[-1]), self.levels[-1], loss)
        return finish.picture(), loss


def side_by_side(sources: Sequence[Pixels]) -> Pixels:
    """Several sources as one picture, each cut to the lowest one's height; a single source stays as it is."""
    rows = min(source.shape[0] for source in sources)
    cut = [source[(source.shape[0] - rows) // 2 :][:rows] for source in sources]
    return np.clip(np.concatenate(cut, axis=1), 0, 1)

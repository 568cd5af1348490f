"""One texture from its sources to its report: a method's course, and the files written on the way."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import animation, images, pictures, report
from .checkpoint import Checkpoint
from .course import Course, Stand
from .descent import PRESETS, Descent
from .images import Pixels
from .network import Network
from .novelty import Novelty
from .parameters import Parameters
from .patchwork import Patchwork, wrapping
from .progress import Progress
from .quality import measure
from .regularity import regularity
from .swatch import LAYERS as SWATCH_LAYERS
from .swatch import Swatch
from .vgg import LAYERS, deepest, layer
from .weights import Weights

Tell = Callable[[dict[str, Any]], None]

SIDE_BY_SIDE = "several sources: measured against all of them side by side, joins included, so take it as a hint"
"""There is no single look that a mixture of sources should have."""
SAVE_SECONDS = 30.0
"""Most seconds between two saved states, as long as one iteration takes less; a finished size is saved at once."""
PREVIEW_SIDE, TILED_SIDE = 2048, 8192
"""Most pixels along a side of a preview, and of the tiling: larger ones are shrunk, as nobody could open them."""
UNFINISHED = "unfinished.png"
"""The picture as it was when the run was stopped."""
FRAMES_PER_SECOND = 12.0


class Subject(NamedTuple):
    """What a texture is made from, besides its parameters.

    sources: in [0, 1], as read. network: None where there are no weights. content: the picture whose content "style"
    keeps. novelty: instead of sources.
    """

    sources: Sequence[Pixels]
    network: Network | None = None
    content: Pixels | None = None
    novelty: Novelty | None = None


def course(subject: Subject, parameters: Parameters, alive: Callable[[], None]) -> Course:
    """The course of the method asked for. Raises ValueError when it lacks something, or does not fit the sources."""
    method = resolved(parameters.method, subject.network is not None)
    if method == "patch" and not subject.novelty:
        if parameters.count > 1:
            raise ValueError('frames that move need VGG-19 weights: the method "patch" makes one picture')
        return Patchwork(subject.sources, parameters, alive)
    if subject.network is None:
        raise ValueError(f"the method {method!r} needs VGG-19 weights: name their folder with --data-dir")
    last = deepest_layer([parameters])
    if last not in subject.network.convolutions:
        raise ValueError(f"the weights have no {last}; name a whole file of VGG-19's, or earlier layers")
    if method == "style" and subject.content is None:
        raise ValueError('the method "style" needs a picture to keep the content of: name it with --content')
    if method == "swatch" and parameters.count == 1 and not subject.novelty:
        return Swatch(subject.sources, parameters, subject.network, alive)
    return Descent(subject.sources, parameters, subject.network, alive, subject.content, subject.novelty)


def subject(
    sources: Sequence[Pixels],
    network: Network | None,
    content: Pixels | None,
    novelty: dict[str, Any] | None,
) -> Subject:
    """What a texture is made from, of plain values. novelty: the fields of `Novelty`."""
    if novelty is None:
        return Subject(sources, network, content)
    if network is None:
        raise ValueError("novelty needs VGG-19 weights: name their folder with --data-dir")
    return Subject((), network, None, Novelty(**novelty))


def network(loaded: Weights) -> Network:
    """A network of weights."""
    return Network(loaded.kernels, loaded.digest)


def deepest_layer(needed: Sequence[Parameters]) -> str:
    """The name of the deepest convolution that any of these textures needs."""
    last = LAYERS[0]
    for parameters in needed:
        method = resolved(parameters.method, True)
        names = parameters.layers or (SWATCH_LAYERS if method not in PRESETS else PRESETS[method].layers)
        content = PRESETS[method].content if method in PRESETS else None
        for name in (*names, *([content[0]] if content else [])):
            try:
                last = deepest([last, layer(name)])
            except ValueError:  # told when the texture's turn comes
                continue
    # A pooling layer has no weights of its own; the convolution before it has.
    before = LAYERS[: LAYERS.index(last) + 1]
    return next(one.name for one in reversed(before) if one.name.startswith("conv"))


def resolved(method: str, weights: bool) -> str:
    """The method that "auto" stands for."""
    return ("swatch" if weights else "patch") if method == "auto" else method


class Synthesis:
    """The making of one texture.

    folder: where its files go. checkpoint: its saved state. tell: receives progress. alive: called many times a second;
    raises to stop the run. save_every: every so many iterations at full size the frames are written as
    I0010_F0000.png, and first those that all begins with as Aseed_F0000.png, as subjective-functions does; None for not
    at all.

    Raises ValueError when the parameters do not fit the sources.
    """

    def __init__(
        self,
        folder: Path,
        subject: Subject,
        parameters: Parameters,
        checkpoint: Checkpoint,
        tell: Tell,
        alive: Callable[[], None],
        save_every: int | None = None,
    ) -> None:
        self.folder, self.parameters, self.checkpoint = folder, parameters, checkpoint
        self.tell, self.save_every = tell, save_every
        self.course = course(subject, parameters, alive)
        self.network = subject.network
        self.saved = time.monotonic()
        self.previewed: set[str] = set()

    def run(self) -> dict[str, Any]:
        """Make the texture and write its files: source, previews, texture, tiling and, last, the report. Returns how
        good the texture is, as `quality.measure` says it. Stopped by SystemExit or KeyboardInterrupt, it leaves its
        state and the picture so far."""
        began = time.monotonic()
        # Killed half-way, files of this texture would otherwise lie beside a report that vouches for an earlier one.
        (self.folder / report.FILE).unlink(missing_ok=True)
        sheet = side_by_side(self.course.sources) if self.course.sources else None
        if sheet is not None:
            images.write_png(self.folder / "source.png", sheet)
        last, resumed_at = self.taken()
        assert last is not None, "a course that is taken up at its very end gives its last stand again"
        frames = last.pictures()
        self.deliver(frames)
        making = time.monotonic() - began
        quality = self.judged(sheet, frames[0])
        (self.folder / UNFINISHED).unlink(missing_ok=True)
        made = {
            "method": self.course.name,
            "seed": self.parameters.seed,
            "size": [self.parameters.width, self.parameters.height],
            "source_sizes": [[source.shape[1], source.shape[0]] for source in self.course.sources],
            "levels": self.course.levels,
            "resumed_at": resumed_at,
            "weights": self.network.digest if self.network and not isinstance(self.course, Patchwork) else None,
            **self.course.report(),
            "seconds": {"making": round(making, 3), "total": round(time.monotonic() - began, 3)},
            "quality": quality,
        }
        report.write(self.folder, self.checkpoint.identity, self.parameters, made)
        self.checkpoint.remove()
        return quality

    def taken(self) -> tuple[Stand | None, float | None]:
        """The whole course; its last stand, and the share of the work that a saved state spared (None without one)."""
        saved = self.checkpoint.load()
        progress: Progress | None = None
        spared: float | None = None
        last: Stand | None = None
        try:
            stands, resumed = self.course.stands(saved), saved is not None
            if resumed:  # what lies there then is of this very texture
                self.previewed = {preview.stem for preview in (self.folder / "previews").glob("*.png")}
            del saved  # as large as all that a descent remembers
            for stand in stands:
                if not stand.iteration:
                    self.keep_frames("Aseed", stand)
                    continue
                if progress is None:
                    progress = Progress(self.folder.name, self.course.total, stand.done, self.tell)
                    spared = round(stand.done / self.course.total, 4) if resumed else None
                self.keep(stand)
                last = stand  # not before: stopped in between, the run takes it up again and writes what it leaves
                progress.at(stand.done, stand.size, stand.loss)
        except (SystemExit, KeyboardInterrupt):
            if last is not None:
                self.checkpoint.save(last.state())
                images.write_png(self.folder / UNFINISHED, (last.hasty or last.pictures)()[0])
            raise
        return last, spared

    def keep(self, stand: Stand) -> None:
        """Write what a stand is due to leave: a preview of a finished size, frames, the state."""
        if stand.level_done and stand.size not in self.previewed:  # the finish ends the full size a second time
            self.previewed.add(stand.size)
            seen = images.within(stand.pictures()[0], PREVIEW_SIDE)
            images.write_png(self.folder / "previews" / f"{stand.size}.png", seen)
        if self.save_every and stand.size == self.course.levels[-1]:
            # As subjective-functions counts: from 0, every so many. It lost the last one, unless that was due anyway.
            iteration = stand.iteration - 1
            if iteration % self.save_every == 0 or stand.level_done:
                self.keep_frames(f"I{iteration:04d}", stand)
        if stand.level_done or time.monotonic() - self.saved >= SAVE_SECONDS:
            self.checkpoint.save(stand.state())
            self.saved = time.monotonic()

    def keep_frames(self, name: str, stand: Stand) -> None:
        """Write the frames as they are, if such files are wanted at all."""
        for number, frame in enumerate(stand.pictures() if self.save_every else ()):
            images.write_png(self.folder / f"{name}_F{number:04d}.png", frame)

    def deliver(self, frames: Sequence[Pixels]) -> None:
        """The finished picture, its tiling, and of several frames each one and the video."""
        for number, frame in enumerate(frames if len(frames) > 1 else ()):
            pictures.write(self.folder / "frames" / f"F{number:04d}.png", frame, self.parameters.bits)
        if len(frames) > 1:
            for warning in animation.write_animation(self.folder / "video", frames, FRAMES_PER_SECOND).warnings:
                print(f"{self.folder.name}: {warning}")
        pictures.write(self.folder / "texture.png", frames[0], self.parameters.bits)
        if self.parameters.bits == 16:
            pictures.write(self.folder / "texture.tiff", frames[0], 16)
        images.write_png(self.folder / "tiled.png", images.within(frames[0], TILED_SIDE // 2, torus=True), copies=2)

    def judged(self, sheet: Pixels | None, picture: Pixels) -> dict[str, Any]:
        """How good the picture is, beside its sources; style and novelty have nothing to be compared with."""
        if sheet is None or self.parameters.method == "style":
            return {"verdict": "unmeasured", "reasons": ["there is no source that it should look like"]}
        quality = measure(sheet, picture, self.parameters.seed, tileable=all(wrapping(self.parameters)))
        rhythm = self.course.rhythm
        if rhythm:
            quality["regularity"] = regularity(sheet, picture, rhythm)
        if len(self.course.sources) > 1:
            quality["reasons"] = [SIDE_BY_SIDE, *quality["reasons"]]
        return quality


def side_by_side(sources: Sequence[Pixels]) -> Pixels:
    """Several sources as one picture, each cut to the lowest one's height; a single source stays as it is."""
    rows = min(source.shape[0] for source in sources)
    cut = [source[(source.shape[0] - rows) // 2 :][:rows] for source in sources]
    return np.clip(np.concatenate(cut, axis=1), 0, 1)

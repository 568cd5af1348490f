"""The picture the coarsest level begins with: noise with the sources' colours and spectrum, on a torus."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .grain import smooth
from .images import Pixels
from .levels import Size
from .randomness import Stage, generator
from .rhythm import Rhythm, repeating


def picture(sources: Sequence[Pixels], size: Size, seed: int, rhythm: Rhythm) -> Pixels:
    """The first picture, on a torus of `size`: noise, and in phase what repeats in a single regular source."""
    if not rhythm:
        return noise(sources, size, seed)
    on_torus, on_source = repeating(sources[0], size, rhythm)
    return (on_torus + noise([(sources[0] - on_source).astype(np.float32)], size, seed)).astype(np.float32)


def noise(sources: Sequence[Pixels], size: Size, seed: int) -> Pixels:
    """Gaussian noise on a torus of `size` with the mean colour and the covariances of the sources.

    This is the texton of Galerne, Gousseau and Morel (Random Phase Textures, 2011): the source under a window of unit
    energy, convolved with white noise. All channels share one noise field, which keeps their correlation. With several
    sources each has a field of its own, and the covariances average.
    """
    draws = generator(seed, Stage.START)
    width, height = size
    total = np.zeros((height, width, 3), np.float32)
    for source in sources:
        field = np.fft.rfft2(draws.standard_normal((height, width)))
        ours = texton(source, width, height)
        for channel in range(3):  # one by one: the transforms of a large picture are its largest arrays
            both = np.fft.rfft2(ours[..., channel]) * field
            total[..., channel] += np.fft.irfft2(both, s=(height, width)) / np.sqrt(len(sources))
    total += np.mean([source.mean(axis=(0, 1)) for source in sources], axis=0).astype(np.float32)
    return total


def blurred(picture: Pixels, deviation: float) -> Pixels:
    """A picture on a torus, (height, width, channels), under a Gaussian blur of so many pixels."""
    planes = [smooth(picture[..., one], deviation) for one in range(picture.shape[-1])]
    soft: Pixels = np.stack(planes, axis=-1).astype(np.float32)
    return soft


def mirrored(picture: Pixels) -> Pixels:
    """The picture as its own mirror image, left to right and top to bottom, with the contrast it had."""
    symmetric = picture + picture[:, ::-1]
    symmetric = symmetric + symmetric[::-1]
    mean = symmetric.mean(axis=(0, 1))
    # Averages of four independent values have half the deviation.
    back: Pixels = ((symmetric - mean) / 2 + mean / 4).astype(np.float32)
    return back


def texton(source: Pixels, width: int, height: int) -> npt.NDArray[np.float64]:
    """The centred source under a Hann window of unit energy, folded onto the torus; (height, width, 3)."""
    rows, columns = source.shape[:2]
    window = np.outer(np.hanning(rows + 2)[1:-1], np.hanning(columns + 2)[1:-1])
    window /= np.sqrt((window**2).sum())
    # The window's own mean is taken out, so that the noise has no constant part and its mean is the source's.
    centred = source - (source * window[..., None]).sum(axis=(0, 1)) / window.sum()
    folded = np.zeros((height, width, 3))
    np.add.at(
        folded, (np.arange(rows)[:, None] % height, np.arange(columns)[None] % width), centred * window[..., None]
    )
    return folded

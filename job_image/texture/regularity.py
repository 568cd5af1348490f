"""Whether a regular texture is as regular as its source: its period, its rows, its dislocations.

A regular picture is a few plane waves, slowly modulated. Multiplied with the opposite wave and smoothed, it becomes one
complex number a place: its phase says how far the rows are displaced there (a whole turn is a whole period), and a
point round which the phase turns once is where a row ends, a *dislocation* (Nye and Berry, "Dislocations in wave
trains", 1974).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .appearance import LUMA
from .images import Pixels, resize
from .rhythm import Field, Rhythm, autocorrelation, without_slow_parts

Waves = NDArray[np.complex128]

ORDERS = 4
"""Waves are looked for up to twice the frequency of the rhythm, in halves: its period may span two rows, or half one.
The strongest is taken, not the slowest: a weak one shows grain as dislocations."""
SECOND = 0.25
"""A second direction of the lattice counts when its wave has at least this share of the strongest one's amplitude."""
SMOOTHING = 1.0
"""Deviation of the Gaussian in wavelengths. Narrower, and grain makes dislocations; wider, and real ones cancel."""
MOST_PERIODS = 8
"""The peak of the autocorrelation after so many periods (or as many as half the picture holds) tells the period."""
REACH = 0.25
"""How far from where it is expected a peak is looked for, in periods."""


MOST_PIXELS = 2048 * 2048
"""Of a larger result as many are looked at (complex fields of it all would be its largest arrays by far)."""
LEAST_PERIOD = 8
"""Pixels of the shortest period that are left when a large result is shrunk for that; one with still more pixels is cut
instead."""


def regularity(source: Pixels, result: Pixels, rhythm: Rhythm) -> dict[str, float]:
    """How regular a texture with this rhythm is. source: stretched as the engine used it; both in [0, 1].

    A result of more than `MOST_PIXELS` is shrunk for that, and the source with it, as far as its periods stay visible;
    if they would not, its upper left part is looked at, and dislocations are scaled to that part.

    period_error         of the worse direction: the result's period over the source's, less 1, from the peaks of their
                         autocorrelations (1 where the result has no such peak)
    straightness         how far rows stray from straight lines: root mean square, in spacings of
                         the rows; 0.29 is anyhow
    dislocations         points of the result where a row ends
    and of the last two, `..._source`: the source's own, dislocations scaled to the result's area
    """
    source, result, rhythm, tiles = bounded(source, result, rhythm)
    here, there = (without_slow_parts((image @ LUMA).astype(np.float64)) for image in (result, source))
    figures = {"period_error": _period_error(there, here, rhythm)}
    strayed: dict[str, list[tuple[float, float]]] = {"": [], "_source": []}
    for order in lattice(there, rhythm):
        on_torus = order[0] * rhythm.torus[0], order[1] * rhythm.torus[1]
        on_source = order[0] * rhythm.source[0], order[1] * rhythm.source[1]
        strayed[""].append(_strayed(here, on_torus, tiles))
        strayed["_source"].append(_strayed(there, on_source, tiles=False))
    for whose, found in strayed.items():
        figures[f"straightness{whose}"] = max(astray for astray, _ in found)
        figures[f"dislocations{whose}"] = sum(density for _, density in found) * here.size
    return {name: round(float(value), 4) for name, value in figures.items()}


def bounded(source: Pixels, result: Pixels, rhythm: Rhythm) -> tuple[Pixels, Pixels, Rhythm, bool]:
    """Source, result and rhythm so that the result has about `MOST_PIXELS` at most, and whether it still tiles."""
    rows, columns = result.shape[:2]
    shortest = min(side / count for side, count in zip((columns, rows), rhythm.torus, strict=True) if count)
    scale = min(1.0, max(math.sqrt(MOST_PIXELS / (rows * columns)), LEAST_PERIOD / shortest))
    small, less = (
        image if scale == 1 else resize(image, *(max(1, round(side * scale)) for side in image.shape[1::-1]))
        for image in (source, result)
    )
    share = math.sqrt(MOST_PIXELS / (less.shape[0] * less.shape[1]))
    if share > 0.99:  # but for rounding
        return small, less, rhythm, True
    counts = [kept(count, share) for count in rhythm.torus]
    width, height = (
        round(side * now / count) if count else max(1, int(side * share))
        for side, now, count in zip(less.shape[1::-1], counts, rhythm.torus, strict=True)
    )
    return small, less[:height, :width], Rhythm((counts[0], counts[1]), rhythm.source), False


def kept(count: int, share: float) -> int:
    """How many of so many whole periods a share of the side holds; none of none. An even number stays even, for a wave
    of half as many (bricks laid in running bond have one) to be whole still."""
    least = min(count, 2 - count % 2)
    now = max(least, int(count * share))
    return now - (count - now) % 2 if now > least else now


def lattice(grey: Field, rhythm: Rhythm) -> list[tuple[float, float]]:
    """The strongest wave of a source, and the strongest in another direction if there is one.

    Each is in multiples of the rhythm, (across, down), in steps of a half, and whole on the torus.
    """
    rows, columns = grey.shape
    window = np.outer(np.hanning(rows + 2)[1:-1], np.hanning(columns + 2)[1:-1])
    found = []
    for a in range(ORDERS + 1):
        for b in range(-ORDERS, ORDERS + 1):
            order = a / 2, b / 2
            cycles = [o * c for o, c in zip(order, rhythm.torus, strict=True)]
            unheard = any(o and not c for o, c in zip(order, rhythm.torus, strict=True))
            if (a, b) <= (0, 0) or unheard or any(c % 1 for c in cycles):
                continue
            wave = _wave(grey.shape, (order[0] * rhythm.source[0], order[1] * rhythm.source[1]))
            found.append((float(abs((grey * window * wave).sum())), order))
    found.sort(reverse=True)
    first = found[0][1]
    others = [
        o for amplitude, o in found if abs(first[0] * o[1] - first[1] * o[0]) > 0 and amplitude > SECOND * found[0][0]
    ]
    return [first, *others[:1]]


def demodulated(grey: Field, cycles: tuple[float, float], tiles: bool) -> Waves:
    """The complex amplitude of a wave of so many cycles (across, down) at each place: (rows, columns).

    Of a picture that does not tile, only the places are kept that the smoothing does not carry across an edge.
    """
    rows, columns = grey.shape
    frequency = np.hypot(cycles[0] / columns, cycles[1] / rows)
    spread = SMOOTHING / frequency
    square = np.fft.fftfreq(rows)[:, None] ** 2 + np.fft.fftfreq(columns)[None] ** 2
    smooth = np.exp(-2 * (np.pi * spread) ** 2 * square)
    amplitude: Waves = np.fft.ifft2(np.fft.fft2(grey * _wave(grey.shape, cycles)) * smooth)
    margin = 0 if tiles else min(round(2 * spread), (min(rows, columns) - 2) // 2)
    return amplitude[margin : rows - margin, margin : columns - margin]


def dislocations(amplitude: Waves, tiles: bool) -> int:
    """How many points the phase of a complex field turns round: zeros of the field."""
    turns = np.angle(amplitude)
    if tiles:
        turns = np.pad(turns, ((0, 1), (0, 1)), mode="wrap")
    corners = turns[:-1, :-1], turns[:-1, 1:], turns[1:, 1:], turns[1:, :-1]
    total = sum(np.angle(np.exp(1j * (corners[(i + 1) % 4] - corners[i]))) for i in range(4))
    return int((np.abs(total) > np.pi).sum())


def _strayed(grey: Field, cycles: tuple[float, float], tiles: bool) -> tuple[float, float]:
    """How far rows stray, in periods, and dislocations a pixel."""
    amplitude = demodulated(grey, cycles, tiles)
    strength = np.abs(amplitude)
    phase = np.angle(amplitude * np.conj(amplitude.sum()))
    astray = float(np.sqrt((strength * phase**2).sum() / max(float(strength.sum()), 1e-12))) / (2 * np.pi)
    return astray, dislocations(amplitude, tiles) / amplitude.size


def _wave(shape: tuple[int, ...], cycles: tuple[float, float]) -> Waves:
    y, x = np.arange(shape[0])[:, None] / shape[0], np.arange(shape[1])[None] / shape[1]
    wave: Waves = np.exp(-2j * np.pi * (cycles[0] * x + cycles[1] * y))
    return wave


def _period_error(source: Field, result: Field, rhythm: Rhythm) -> float:
    errors = []
    for axis, count in zip((1, 0), rhythm.torus, strict=True):
        if not count:
            continue
        expected = result.shape[axis] / count
        most = int(min(MOST_PERIODS, source.shape[axis] / 2 / expected - 0.5, result.shape[axis] / 2 / expected - 0.5))
        lines = [np.moveaxis(autocorrelation(grey), axis, 0)[:, 0] for grey in (source, result)]
        periods = [_peak(line, expected, max(1, most)) for line in lines]
        errors.append(1.0 if periods[1] is None else abs(periods[1] / (periods[0] or expected) - 1))
    return max(errors)


def _peak(line: Field, period: float, most: int) -> float | None:
    """The period of a correlation line, near the one expected: from its first peak, refined over `most` multiples."""
    for multiple in range(1, most + 1):
        low = round((multiple - REACH) * period)
        high = min(round((multiple + REACH) * period), len(line) - 2)
        lag = low + int(line[low : high + 1].argmax()) if 0 < low <= high else 0
        if not lag or line[lag] < max(line[lag - 1], line[lag + 1]):
            return None if multiple == 1 else period
        bend = line[lag - 1] - 2 * line[lag] + line[lag + 1]
        period = (lag + (0.5 * (line[lag - 1] - line[lag + 1]) / bend if bend else 0.0)) / multiple
    return period

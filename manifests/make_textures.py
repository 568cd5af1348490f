#!/usr/bin/env python3
"""Paint the source textures of the example manifests: bricks, wood, cloth, terrazzo and lichen.

    python3 manifests/make_textures.py [--into manifests/textures] [--size 512] [--seed 0] [NAME...]

Nobody's photograph, so nobody's licence: each surface is modelled (a height field, a colour for each point of it), lit
by a low sun, and seen through a slightly soft lens onto a slightly noisy sensor. A larger `--size` shows more of the
surface at the same scale, not more detail. The pictures are not seamless: making them so is the engine's work.

The same seed and size give the same bytes on the same machine, and each texture draws its own random stream, so asking
for one alone gives the same picture as asking for all. Needs numpy and Pillow only.

In this file a "field" is a float64 array (side, side), and a "colour" is linear light, shape (..., 3), in [0, 1].
"""

from __future__ import annotations

import argparse
import os
import sys
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.floating[Any]]
Cells = NDArray[np.intp]

# Fields made by Fourier transform wrap around; painting this much more on every side and cutting it off hides that.
MARGIN = 24
EDGE = 64  # more than the half of any stone chip: where none can be centred, and what is cut off again
SMALLEST, LARGEST = 64, 4096


def _filtered(field: Field, gain: Field) -> Field:
    """`field` with each frequency multiplied by `gain` (laid out as `rfft2` lays it), wrapping around."""
    filtered: Field = np.fft.irfft2(np.fft.rfft2(field) * gain, s=field.shape)
    return filtered


def _noise(rng: Generator, side: int, gain: Field) -> Field:
    """Gaussian noise of that spectrum, of zero mean and unit deviation."""
    noise = _filtered(rng.standard_normal((side, side)), gain)
    even: Field = (noise - noise.mean()) / noise.std()
    return even


def _frequencies(side: int) -> tuple[Field, Field]:
    """Cycles a pixel along y and x, shaped to broadcast over an `rfft2`."""
    return np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]


def blur(field: Field, sigma: float) -> Field:
    """Gaussian blur of `sigma` pixels, wrapping around."""
    fy, fx = _frequencies(len(field))
    return _filtered(field, np.exp(-2 * (np.pi * sigma) ** 2 * (fy**2 + fx**2)))


def strands(rng: Generator, side: int, along: float, across: float, angle: float = 0.0) -> Field:
    """Noise of unit deviation, smooth over `along` pixels down the page and `across` pixels across it, turned by
    `angle` radians."""
    fy, fx = _frequencies(side)
    v, u = fy * np.cos(angle) + fx * np.sin(angle), fx * np.cos(angle) - fy * np.sin(angle)
    return _noise(rng, side, np.exp(-2 * np.pi**2 * ((along * v) ** 2 + (across * u) ** 2)))


def clouds(rng: Generator, side: int, wave: float, slope: float = 1.0) -> Field:
    """Noise of unit deviation whose amplitude falls as frequency**-slope below wavelengths of `wave` pixels, and is
    even above: 1 is rough as stone, 2 smooth as mist."""
    fy, fx = _frequencies(side)
    return _noise(rng, side, (fy**2 + fx**2 + wave**-2.0) ** (-slope / 2))


def step(low: float, high: float, field: Field) -> Field:
    """0 below `low`, 1 above `high`, smooth between; `high` may lie below `low`."""
    t: Field = np.clip((field - low) / (high - low), 0, 1)
    smooth: Field = t * t * (3 - 2 * t)
    return smooth


def linear(*codes: str) -> Field:
    """Linear light of sRGB codes such as "b4553a", shape (codes, 3)."""
    srgb = np.array([[int(code[i : i + 2], 16) for i in (0, 2, 4)] for code in codes]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def scaled(colour: Field, *gains: Field) -> Field:
    """`colour` times the product of these fields."""
    product: Field = colour * np.prod(gains, 0)[..., None]
    return product


def mix(under: Field, over: Field | str, share: Field) -> Field:
    """Colours `under` and `over` (or its sRGB code) mixed; `share` is that of `over`."""
    top = linear(over)[0] if isinstance(over, str) else over
    return under + (top - under) * share[..., None]


def lit(colour: Field, height: Field, slope: float, gloss: float = 0.0) -> Field:
    """`colour` under a low warm sun from the upper left and a cool sky. `height` is in pixels.

    The sun is Lambertian, with cast shadows marched `slope` pixels down a pixel of way; the sky is darker in hollows.
    """
    dy, dx = np.gradient(height)
    norm = np.sqrt(1 + dx**2 + dy**2)
    sun = np.array([0.55, 0.62, 0.75]) / np.linalg.norm([0.55, 0.62, 0.75])
    facing = np.clip((dx * sun[0] + dy * sun[1] + sun[2]) / norm, 0, None)
    shadow = np.zeros_like(height)
    for way in range(1, 9):
        caster = np.roll(height, (round(way * 0.75), round(way * 0.66)), (0, 1)) - way * slope
        shadow = np.maximum(shadow, step(0.0, 1.2, caster - height))
    hollow = sum(np.clip(blur(height, sigma) - height, 0, None) / sigma for sigma in (2.0, 6.0))
    sky = np.exp(-0.8 * hollow) * (0.75 + 0.25 / norm)
    light = np.array([1.0, 0.955, 0.885]) * (1.02 * facing * (1 - 0.8 * shadow))[..., None]
    light += np.array([0.24, 0.27, 0.32]) * sky[..., None]
    shine = gloss * (1 - shadow) * np.clip((dx * 0.3 + dy * 0.34 + 0.97) / norm, 0, 1) ** 60
    seen: Field = colour * light + shine[..., None]
    return seen


def cells(rng: Generator, side: int, pitch: float, bend: float = 0.0) -> tuple[Field, Field, Cells]:
    """Voronoi cells of one random point in each `pitch`-pixel square: (nearest distance, second minus nearest, index).

    Distances are in pixels (Worley 1996); the walls waver by about `bend` pixels.
    """
    count = int(side / pitch) + 5
    points = rng.random((count, count, 2))
    y, x = np.mgrid[0:side, 0:side]
    y, x = (bend * clouds(rng, side, 2 * pitch, 1.4) + at for at in (y, x))
    y, x = y / pitch + 2, x / pitch + 2
    first, second = np.full((side, side), 9.0), np.full((side, side), 9.0)
    index = np.zeros((side, side), np.intp)
    for oy in (-1, 0, 1):
        for ox in (-1, 0, 1):
            cy, cx = (np.clip(np.floor(a).astype(np.intp) + o, 0, count - 1) for a, o in ((y, oy), (x, ox)))
            distance = np.hypot(y - cy - points[cy, cx, 0], x - cx - points[cy, cx, 1])
            index = np.where(distance < first, cy * count + cx, index)
            second = np.minimum(second, np.maximum(first, distance))
            first = np.minimum(first, distance)
    return first * pitch, (second - first) * pitch, index


def photograph(rng: Generator, light: Field, softness: float = 0.55, grain: float = 0.007) -> Image.Image:
    """Linear light as an 8-bit sRGB picture: a lens blur of `softness` pixels, shot noise, a gentle shoulder."""
    seen = np.clip(np.stack([blur(light[..., c], softness) for c in range(3)], -1), 0, None)
    seen = seen + rng.standard_normal(seen.shape) * grain * np.sqrt(seen + 0.02)
    seen = np.clip(seen * 1.12 / (1 + 0.12 * np.clip(seen, 0, None) ** 2), 0, 1)
    srgb = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    cut = srgb[MARGIN:-MARGIN, MARGIN:-MARGIN]
    return Image.fromarray((np.clip(cut, 0, 1) * 255 + 0.5).astype(np.uint8))


def _each(rng: Generator, shape: tuple[int, ...], index: tuple[Cells, ...], low: float, high: float) -> Field:
    """One number from `low` to `high` for each brick (or board), spread over its pixels."""
    spread: Field = rng.uniform(low, high, shape)[index]
    return spread


def bricks(rng: Generator, side: int) -> Image.Image:
    """Hand-made bricks in running bond: ragged arrises, pores, burnt ends, lime mortar full of grit."""
    width, course, joint = 104.0, 37.0, 7.5
    rows, columns = int(side / course) + 4, int(side / width) + 5
    y, x = np.mgrid[0:side, 0:side].astype(float)
    y, x = y + 1.6 * clouds(rng, side, 90, 2) + 31, x + 1.6 * clouds(rng, side, 90, 2) + width
    row = np.floor(y / course).astype(np.intp)
    x = x + (width / 2 * (np.arange(rows) % 2) + rng.normal(0, 4, rows))[row]
    heads = np.arange(columns + 1) * width + rng.normal(0, 3.2, (rows, columns + 1))
    column = np.clip(np.floor(x / width).astype(np.intp), 0, columns - 1)
    column = column + (x > heads[row, np.minimum(column + 1, columns)]) - (x < heads[row, column])
    column = np.clip(column, 0, columns - 1)
    per_brick = partial(_each, rng, (rows, columns), (row, column))
    left, right = heads[row, column], heads[row, column + 1]
    v = y - (row + 0.5) * course + per_brick(-0.016, 0.016) * (x - (left + right) / 2) + per_brick(-0.8, 0.8)
    u = x - (left + right) / 2
    # Distance inside the brick's outline, its corners rounded by about 4 pixels.
    ex, ey = (right - left - joint) / 2 - np.abs(u), (course - joint) / 2 - np.abs(v) + per_brick(-1.0, 0.8)
    inside = np.minimum(ex, ey) - np.clip(4 - ex, 0, None) * np.clip(4 - ey, 0, None) * 0.16
    inside += 0.75 * clouds(rng, side, 10, 1.2) + 2.2 * np.minimum(clouds(rng, side, 26, 1.6) + 1.35, 0)
    face = step(-0.9, 0.9, inside)

    rough, coarse, sand = clouds(rng, side, 30, 1.1), clouds(rng, side, 60, 1.6), clouds(rng, side, 5, 0.4)
    pores = step(1.75, 2.5, strands(rng, side, 0.9, 1.5)) + step(1.9, 2.5, strands(rng, side, 1.8, 2.6))
    drag = strands(rng, side, 1.0, 9.0)
    height = 5.2 * (1 - np.exp(-np.clip(inside, 0, None) / 1.6)) + per_brick(-0.7, 0.7)
    height += 0.38 * rough + 0.12 * drag + 0.1 * sand - 1.5 * np.clip(pores, 0, 1)
    grit = step(0.9, 1.9, strands(rng, side, 1.0, 1.0))
    mortar = 0.55 * clouds(rng, side, 14, 1.3) + 0.8 * grit + 0.28 * sand - 0.02 * np.clip(inside, -12, 0) ** 2
    height = mortar + (height - mortar) * face

    clays = linear("a05844", "ab674c", "8f4c3b", "b27a5d", "804639", "9a6350", "6b4039", "b3886d")
    clay = rng.choice(len(clays), (rows, columns), p=[0.22, 0.2, 0.17, 0.13, 0.1, 0.08, 0.05, 0.05])[row, column]
    texture = 1 + 0.11 * rough + 0.09 * coarse + 0.07 * sand + 0.05 * drag
    colour = scaled(clays[clay], texture, per_brick(0.86, 1.12))
    burnt = step(26, 4, ex) * (per_brick(0, 1) > 0.6) * (0.65 + 0.25 * coarse)
    colour = mix(colour, "4b2c2a", np.clip(burnt, 0, 0.75))
    wash = coarse + 0.6 * rough + 0.3 * sand + 0.4 * per_brick(-1, 1)
    colour = scaled(mix(colour, "d8c3ae", 0.34 * step(0.7, 2.7, wash)), 1 - 0.5 * np.clip(pores, 0, 1))
    lime = scaled(linear("b9ad9b")[0], 1 + 0.09 * clouds(rng, side, 40, 1.3) + 0.1 * sand)
    grains = linear("8d7c66", "d9d2c4", "5d564e", "a58b6a")[cells(rng, side, 3.2)[2] % 4]
    lime = mix(lime, grains, 0.7 * grit)
    return photograph(rng, lit(mix(lime, np.clip(colour, 0.005, 1), face), height, slope=1.0))


def wood(rng: Generator, side: int) -> Image.Image:
    """A floor of oiled oak strips: growth rings cut flat, open pores, ray flecks, a knot here and there."""
    board, length = 64.0, 2.0 * side  # longer than the picture: no strip ends in it
    y, x = np.mgrid[0:side, 0:side].astype(float)
    x = x + 37 + 0.5 * strands(rng, side, 60, 12)
    count = int(side / board) + 3
    plank = np.clip(np.floor(x / board).astype(np.intp), 0, count - 1)
    along = y + rng.uniform(0, side, count)[plank]
    across = x - plank * board
    per_board = partial(_each, rng, (count,), (plank,))

    # A flat-sawn board cuts the rings of a leaning, wavering trunk: arches where it comes near the pith.
    heart = per_board(-0.4, 1.4) * board + 8 * strands(rng, side, 150, 60)
    depth = per_board(12, 70) + per_board(-0.16, 0.16) * (along - length / 2) + 6 * strands(rng, side, 120, 40)
    radius = np.hypot(across - heart, depth) + 0.7 * strands(rng, side, 60, 3) + 1.2 * strands(rng, side, 90, 14)
    bump, wavy = np.zeros((side, side)), 1 + 0.06 * clouds(rng, side, 24, 1.6)
    for _ in range(max(1, round(5 * (side / 512) ** 2))):
        cy, cx, size = rng.uniform(0, side), (rng.integers(count) + rng.uniform(0.25, 0.75)) * board, rng.uniform(5, 9)
        away = np.hypot((x - cx) / size, (y - cy) / (1.5 * size)) * wavy
        bump = np.maximum(bump, np.where(plank == int(cx / board), 1 / (1 + (away / 1.5) ** 2), 0))
    fibre, fine = strands(rng, side, 34, 0.8), strands(rng, side, 12, 0.55)
    ring = radius * per_board(0.09, 0.15) + 5.5 * bump
    phase = (ring + 0.06 * fine) % 1.0
    late = step(0.25, 0.86, phase) * step(1.0, 0.93, phase)
    strength = 0.75 + 0.25 * rng.random(4096)[np.floor(ring).astype(np.intp) % 4096]

    open_pores = step(1.5, 2.3, strands(rng, side, 5.5, 0.62) + 0.75 * step(0.5, 0.1, phase) - 0.35)
    fleck = step(1.7, 2.6, strands(rng, side, 5, 1.5))
    knot = step(0.62, 0.86, bump)
    colour = mix(linear("c8a273")[0], "8a5c33", np.clip(0.62 * late * strength + 0.04 * fine, 0, 1))
    tone = per_board(0.74, 1.08) * (1 + 0.085 * fibre + 0.07 * fine + 0.04 * strands(rng, side, 90, 24))
    colour = colour * np.stack([tone, tone * per_board(0.95, 1.03), tone * per_board(0.88, 1.04)], -1)
    colour = mix(colour, "d9b98c", 0.22 * fleck)
    dark_spots = 0.62 * open_pores + 0.8 * knot + 0.35 * step(0.3, 0.62, bump)
    colour = mix(colour, "4a2c19", np.clip(dark_spots, 0, 0.92))
    gap = np.minimum(across, board - across)
    height = 0.10 * fibre + 0.06 * fine - 0.55 * open_pores + 0.25 * late + per_board(-0.3, 0.3)
    height -= 2.6 * step(1.9, 0.1, gap + 0.3 * fibre)
    colour = scaled(colour, 1 - 0.72 * step(1.3, 0.2, gap + 0.3 * fibre))
    return photograph(rng, lit(colour, height, slope=0.8, gloss=0.02))


def cloth(rng: Generator, side: int) -> Image.Image:
    """A 2/2 wool twill, blue-grey warp over oatmeal weft: uneven yarns, twisted fibres, stray hairs."""
    pitch, float_ = 9.0, 4
    y, x = np.mgrid[0:side, 0:side].astype(float)
    y = y + 1.8 * clouds(rng, side, 300, 2) + 0.55 * strands(rng, side, 3, 30)
    x = x + 1.8 * clouds(rng, side, 300, 2) + 0.55 * strands(rng, side, 30, 3)
    end, pick = np.floor(x / pitch), np.floor(y / pitch)
    # Where along its wave each yarn is: the warp is on top where `wave` is high, the weft where it is low.
    warp_wave = np.cos(2 * np.pi * (y / pitch - end - 0.5) / float_)
    weft_wave = -np.cos(2 * np.pi * (pick - x / pitch + 0.5) / float_)
    thick_warp = 0.60 + 0.05 * strands(rng, side, 26, 3.5)
    thick_weft = 0.60 + 0.06 * strands(rng, side, 3.5, 26)
    dx, dy = x / pitch - end - 0.5, y / pitch - pick - 0.5
    twist = [strands(rng, side, 4.5, 0.7, angle) for angle in (0.5, np.pi / 2 + 0.5)]
    hair = [strands(rng, side, 9.0, 0.6, angle) for angle in (0.2, np.pi / 2 - 0.1)]
    warp = 3.4 * np.sqrt(np.clip(1 - (dx / thick_warp) ** 2, 0, 1)) + 2.3 * warp_wave + 0.34 * twist[0] + 0.2 * hair[0]
    weft = 3.4 * np.sqrt(np.clip(1 - (dy / thick_weft) ** 2, 0, 1)) + 2.3 * weft_wave + 0.34 * twist[1] + 0.2 * hair[1]
    over = step(-0.35, 0.35, warp - weft)
    height = weft + (warp - weft) * over

    count = int(side / pitch) + 9
    dyed = rng.normal(0, 0.10, count)[end.astype(np.intp) % count]
    spun = rng.normal(0, 0.06, count)[pick.astype(np.intp) % count]
    mottle = [strands(rng, side, 7, 1.2), strands(rng, side, 1.2, 7)]
    blue = scaled(linear("4d5f7c")[0], np.exp(dyed + 0.16 * mottle[0] + 0.12 * twist[0] + 0.09 * hair[0]))
    oat = scaled(linear("c4b497")[0], np.exp(spun + 0.10 * mottle[1] + 0.10 * twist[1] + 0.07 * hair[1]))
    blue = mix(blue, "8793a6", 0.45 * step(1.2, 2.2, hair[0]))
    oat = mix(oat, "7c6a51", 0.5 * step(1.4, 2.3, mottle[1]))
    colour = scaled(mix(oat, blue, over), 0.45 + 0.55 * step(-1.5, 4.0, height))
    stray = step(3.0, 3.8, strands(rng, side, 11, 0.6, 0.9)) + step(3.0, 3.8, strands(rng, side, 11, 0.6, -0.7))
    colour = mix(colour, "d8d0c2", 0.5 * np.clip(stray, 0, 1))
    return photograph(rng, lit(np.clip(colour, 0, 1), height + 0.8 * stray, slope=1.1), softness=0.6)


def _chips(rng: Generator, side: int, sizes: Field) -> tuple[Field, Cells]:
    """Crushed stone, largest first, none overlapping: (distance inside the chip's outline, chip number or -1)."""
    side += 2 * EDGE
    depth, owner = np.full((side, side), -9.0), np.full((side, side), -1, np.intp)
    ragged = 0.5 * clouds(rng, side, 12, 1.4)
    for number, size in enumerate(sorted(sizes, reverse=True)):
        faces = rng.integers(5, 9)
        turn = (np.arange(faces) + rng.uniform(-0.35, 0.35, faces)) * 2 * np.pi / faces + rng.uniform(0, 7)
        reach = size * rng.uniform(0.62, 1.0, faces) * (1 - 0.3 * np.abs(np.cos(turn - turn[0])))
        half = int(size * 1.6) + 4
        for _ in range(12):
            cy, cx = rng.integers(half, side - half, 2)
            box = np.s_[cy - half : cy + half, cx - half : cx + half]
            y, x = np.mgrid[-half:half, -half:half]
            walls = [r - y * np.sin(t) - x * np.cos(t) for t, r in zip(turn, reach, strict=True)]
            inside = np.min(walls, 0) + ragged[box]
            if not np.any((inside > -1.6) & (owner[box] >= 0)):
                owner[box] = np.where(inside > 0, number, owner[box])
                depth[box] = np.maximum(depth[box], inside)
                break
    kept = np.s_[EDGE:-EDGE, EDGE:-EDGE]
    return depth[kept], owner[kept]


def terrazzo(rng: Generator, side: int) -> Image.Image:
    """Marble chips of every size in pale cement, ground flat and polished."""
    grades = [(24, 36, 26), (12, 24, 110), (6, 12, 420), (2.2, 6, 1500)]  # smallest, largest, chips in 560x560
    area = ((side + 2 * EDGE) / 560) ** 2
    sizes = np.concatenate([rng.uniform(low, high, int(many * area)) for low, high, many in grades])
    depth, owner = _chips(rng, side, sizes)
    stones = linear("e9e4da", "d8cfc0", "c58f6a", "8f4a3a", "3f4144", "7d8f80", "b7a98f", "5f6f77", "d9b48f")
    kind = rng.choice(len(stones), len(sizes) + 1, p=[0.24, 0.16, 0.13, 0.09, 0.11, 0.09, 0.08, 0.05, 0.05])[owner]
    veins = np.exp(-np.abs(clouds(rng, side, 70, 1.8)) * 9)
    cloudy, speck = clouds(rng, side, 22, 1.5), clouds(rng, side, 4, 0.5)
    shift = rng.normal(0, 1, (len(sizes) + 1, 3))[owner]
    stone = stones[kind] * np.exp(0.09 * shift[..., :1] + 0.035 * shift + (0.10 * cloudy + 0.05 * speck)[..., None])
    stone = mix(stone, "f4efe6", 0.45 * veins * (kind % 2 == 0))
    stone = mix(stone, "57483c", 0.35 * veins * (kind % 2 == 1))
    cement = scaled(linear("c9c2b4")[0], 1 + 0.035 * clouds(rng, side, 120, 1.6) + 0.045 * speck)
    sands = linear("a99f8f", "e2ddd2", "8e8579", "c9c2b4")[cells(rng, side, 3.0)[2] % 4]
    cement = mix(cement, sands, 0.3 * step(0.2, 1.2, clouds(rng, side, 3, 0.2)))
    face = step(-0.5, 0.6, depth)
    pinhole = step(3.3, 3.9, strands(rng, side, 0.9, 0.9))
    colour = scaled(mix(cement, stone, face), 1 - 0.16 * np.exp(-((depth / 1.1) ** 2)) - 0.5 * pinhole)
    height = 0.10 * face + 0.05 * cloudy * face + 0.05 * speck - 0.8 * pinhole
    return photograph(rng, lit(np.clip(colour, 0, 1), height, slope=0.5, gloss=0.025), softness=0.6)


def lichen(rng: Generator, side: int) -> Image.Image:
    """Granite overgrown: grey-green rosettes, sulphur crusts, orange cushions and their fruiting cups."""
    y, x = np.mgrid[0:side, 0:side].astype(float)
    fine, rough = clouds(rng, side, 6, 0.7), clouds(rng, side, 60, 1.3)
    _, wall, grain = cells(rng, side, 7.0, bend=1.7)
    minerals = linear("a9a39a", "bcb3a8", "8f8b86", "4a4846", "c0a595", "cfc9c0", "75716d")
    mineral = rng.choice(7, grain.max() + 1, p=[0.24, 0.2, 0.16, 0.12, 0.12, 0.08, 0.08])[grain]
    colour = scaled(minerals[mineral], 1 + 0.10 * fine + 0.07 * rough, 0.9 + 0.1 * step(0, 1.6, wall))
    height = 1.8 * clouds(rng, side, 110, 2.0) + 0.16 * fine + 0.12 * blur((mineral < 2) * 1.0, 0.8)

    middle, wall, plate_number = cells(rng, side, 5.5, bend=0.8)
    plates = step(0.2, 1.7, wall)
    cups = step(0.62, 0.5, middle / 2.6) * (rng.random(plate_number.max() + 1) > 0.62)[plate_number]
    lobes = clouds(rng, side, 14, 2.4)
    broad = clouds(rng, side, 46, 1.7)
    species = [  # rim and heart colour, thickness in pixels, share of colonies
        ("b3baa0", "868c78", 2.2, 0.40),
        ("c9c46a", "9c9a4c", 1.5, 0.22),
        ("cf8b2c", "a8641f", 1.9, 0.16),
        ("d5d4cb", "b3b2a8", 1.2, 0.15),
        ("3c3b37", "55534c", 0.9, 0.07),
    ]
    grades = [(34, 62, 15), (5, 30, 120)]  # smallest, largest, colonies in 560x560
    radii = [rng.uniform(low, high, int(many * side**2 / 560**2)) for low, high, many in grades]
    for radius in np.sort(np.concatenate(radii))[::-1]:
        rim, heart, thick, _ = species[rng.choice(len(species), p=[share for *_, share in species])]
        cy, cx = rng.uniform(0, side, 2)
        top, left, reach = int(cy), int(cx), int(2 * radius) + 24
        box = np.s_[max(0, top - reach) : top + reach, max(0, left - reach) : left + reach]
        away, angle = np.hypot(y[box] - cy, x[box] - cx), np.arctan2(y[box] - cy, x[box] - cx)
        fringe = sum(rng.normal(0, 0.05) * np.cos(k * angle + rng.uniform(0, 7)) for k in range(2, 7))
        inside = radius * (1 + fringe) - away + (1.4 + 0.07 * radius) * lobes[box] + 0.05 * radius * broad[box]
        if radius > 34:  # old colonies die from the middle
            inside = np.minimum(inside, away - 0.34 * radius + 7 * broad[box] + 3 * lobes[box])
        face, plate, tone = step(-0.8, 1.4, inside), plates[box], linear(rim, heart)
        skin = mix(tone[1], tone[0], step(0.42 * radius, 0.02 * radius, inside))
        skin = scaled(skin, 1 + 0.07 * fine[box] + 0.10 * lobes[box] + 0.05 * rng.normal(), 0.68 + 0.32 * plate)
        if thick > 1.4:
            skin = mix(skin, "a4571d" if rim == "cf8b2c" else "6f6a45", 0.65 * cups[box] * step(3, 9, inside))
        colour[box] = mix(colour[box], skin, face)
        body = thick * (0.55 + 0.45 * plate) * step(0, 3.5, inside) + 0.5 * lobes[box] * step(0, 2, inside)
        height[box] += 0.8 * face * body
    return photograph(rng, lit(np.clip(colour, 0, 1), height, slope=0.9))


TEXTURES = {painter.__name__: painter for painter in (bricks, cloth, lichen, terrazzo, wood)}


def paint(name: str, size: int = 512, seed: int = 0) -> Image.Image:
    """The texture called `name`, `size` pixels square. Raises KeyError for a name not in TEXTURES."""
    painter = TEXTURES[name]
    return painter(np.random.default_rng([seed, zlib.crc32(name.encode())]), size + 2 * MARGIN)


def save(picture: Image.Image, path: Path) -> None:
    """Write a PNG whole or not at all: a reader never meets half a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        picture.save(temporary, format="PNG")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns its exit status."""
    parser = argparse.ArgumentParser(description="Paint the source textures of the example manifests.")
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"one or more of {', '.join(TEXTURES)} (all)")
    parser.add_argument("--into", type=Path, default=Path(__file__).parent / "textures", help="folder (%(default)s)")
    parser.add_argument("--size", type=int, default=512, help=f"pixels a side, {SMALLEST} to {LARGEST} (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, another set of pictures (%(default)s)")
    asked = parser.parse_args(arguments)
    unknown = [name for name in asked.names if name not in TEXTURES]
    if unknown:
        parser.error(f"no texture is called {', '.join(unknown)}; choose from {', '.join(TEXTURES)}")
    if not SMALLEST <= asked.size <= LARGEST:
        parser.error(f"--size {asked.size} is not between {SMALLEST} and {LARGEST}")
    if asked.seed < 0:
        parser.error(f"--seed {asked.seed} is negative")
    for name in asked.names or TEXTURES:
        path = asked.into / f"{name}.png"
        save(paint(name, asked.size, asked.seed), path)
        print(f"{path}  {asked.size}x{asked.size}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

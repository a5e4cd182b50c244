"""Plain, slow restatements of the transformations: the oracle of the tests and the yardstick of the benchmark.

The first half follows given parameters, voxel by voxel; the second half is the published procedure with its own
random numbers, written from its description (docs/transforms.md) and from nothing else.
"""

from __future__ import annotations

import numpy as np

from genesis3d.rng import hash64, uniform01


def words(key: int, index: int) -> tuple[int, int]:
    """Upper and lower 32 bits of one hash."""
    bits = int(hash64(key, np.array([index], np.uint64))[0])
    return bits >> 32, bits & 0xFFFFFFFF


def order(n: int, key: int, stream: int) -> list[int]:
    """A random order of 0..n-1 by swaps from the last place down."""
    items = list(range(n))
    for j in range(n - 1, 0, -1):
        upper, lower = words(key, stream + j // 2)
        other = (upper if j % 2 else lower) * (j + 1) >> 32
        items[j], items[other] = items[other], items[j]
    return items


def shuffled(x, key, count, smallest, largest, separable=False, compose=False):
    """``x`` (C, D, H, W) after ``count`` windows, one after the other."""
    out = x.copy()
    for w in range(count):
        own = int(hash64(key, np.array([w], np.uint64))[0])
        first, second, third = words(own, 0), words(own, 1), words(own, 2)
        extent = [
            low + (word * (high - low + 1) >> 32)
            for word, low, high in zip((*first, second[0]), smallest, largest, strict=True)
        ]
        start = [
            word * (size - e + 1) >> 32 for word, size, e in zip((second[1], *third), x.shape[1:], extent, strict=True)
        ]
        box = (slice(None), *(slice(s, s + e) for s, e in zip(start, extent, strict=True)))
        content = (out if compose else x)[box].copy()
        if separable:
            for axis in range(3):
                content = np.take(content, order(extent[axis], own, 3 + (axis << 20)), axis=axis + 1)
        else:
            flat = content.reshape(len(x), -1)
            content = flat[:, order(flat.shape[1], own, 3)].reshape(content.shape)
        out[box] = content
    return out


def curved(x, control, decreasing):
    """``x`` through the Bezier curve by 100,000 points and linear interpolation between them."""
    t = np.linspace(0, 1, 100_000)
    x1, y1, x2, y2 = control
    xs = 3 * (1 - t) ** 2 * t * x1 + 3 * (1 - t) * t**2 * x2 + t**3
    ys = 3 * (1 - t) ** 2 * t * y1 + 3 * (1 - t) * t**2 * y2 + t**3
    return np.interp(x, np.sort(xs), ys[::-1] if decreasing else np.sort(ys))


def painted(x, start, stop, key, inside):
    """``x`` (C, D, H, W) with noise inside (or outside) the boxes, voxel by voxel."""
    out = x.copy()
    channels, *dims = x.shape
    for c in range(channels):
        for v, place in enumerate(np.ndindex(*dims)):
            boxed = any(all(a <= p < b for a, p, b in zip(s, place, e, strict=True))
                        for s, e in zip(start, stop, strict=True))  # fmt: skip
            if boxed == inside:
                index = v if inside else c * int(np.prod(dims)) + v
                out[(c, *place)] = uniform01(key, np.array([index], np.uint64))[0]
    return out


def published_flip(x, rng):
    """Up to three flips while a number stays under .4; the axis may be the channel, H or W."""
    for _ in range(3):
        if rng.random() >= 0.4:
            break
        axis = (0, 2, 3)[rng.integers(3)]
        x = np.flip(x, axis)
    return x


def published_shuffling(x, rng, windows=10_000):
    """Windows of 1 to a tenth of each side read from the original and overwrite each other."""
    out = x.copy()
    for _ in range(windows):
        extent = [int(rng.integers(1, size // 10 + 1)) for size in x.shape[1:]]
        start = [int(rng.integers(0, size - e + 1)) for size, e in zip(x.shape[1:], extent, strict=True)]
        box = (0, *(slice(s, s + e) for s, e in zip(start, extent, strict=True)))
        out[box] = rng.permutation(x[box].reshape(-1)).reshape(extent)
    return out


def published_nonlinear(x, rng):
    """A curve with free inner control points, falling in half of the cases."""
    return curved(x, rng.random(4), rng.random() < 0.5).astype(np.float32)


def published_painting(x, rng, inside):
    """Up to five boxes, a further one with .95 each; noise inside them, or everywhere else."""
    noise = rng.random(x.shape, dtype=np.float32)
    if inside:
        noise[:] = noise[:1]
    out, fill = (x.copy(), noise) if inside else (noise, x)
    for k in range(5):
        if (inside or k > 0) and rng.random() >= 0.95:
            break
        if inside:
            extent = [int(rng.integers(size // 6, size // 3 + 1)) for size in x.shape[1:]]
        else:
            extent = [size - int(rng.integers(3 * size // 7, 4 * size // 7 + 1)) for size in x.shape[1:]]
        start = [int(rng.integers(3, size - e - 3 + 1)) for size, e in zip(x.shape[1:], extent, strict=True)]
        box = (slice(None), *(slice(s, s + e) for s, e in zip(start, extent, strict=True)))
        out[box] = fill[box]
    return out


def published_chain(x, rng):
    """The published order and probabilities; returns input and target, (C, D, H, W) each."""
    target = published_flip(x, rng)
    out = target
    if rng.random() < 0.5:
        out = published_shuffling(out, rng)
    if rng.random() < 0.9:
        out = published_nonlinear(out, rng)
    if rng.random() < 0.9:
        out = published_painting(out, rng, inside=rng.random() < 0.2)
    return out, target

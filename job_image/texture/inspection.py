"""Looks whether a file holds VGG-19's weights, layer by layer, and says what is in it.

    python -m job_image.texture.inspection FILE

prints {"layout": ..., "layers": [...]}, or ends with 1 and a sentence on what is wrong.
"""

import json
import sys
from pathlib import Path

from . import tensors, weights

NEEDED = "conv3_2"
"""The deepest convolution of the method that `auto` stands for (`swatch.LAYERS`): a file with less is of no use."""


def inspect(path: Path) -> tuple[str, tuple[str, ...]]:
    """The file's layout, and the convolutions in it, each of which was read: shapes are VGG-19's, numbers finite.

    Raises ValueError, in a sentence that names the file.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; name {weights.WANTED}")
    with tensors.opened(path) as (_, found):
        named = [weights.layer_and_part(tensor) for tensor in found]
    there = {one[0] for one in named if one is not None and one[1]}
    deepest = max((weights.LAYERS.index(layer) for layer in there if layer in weights.LAYERS), default=0)
    last = weights.LAYERS[max(deepest, weights.LAYERS.index(NEEDED))]
    loaded = weights.load(path, last)
    return loaded.layout, tuple(loaded.kernels)


def main(words: list[str]) -> int:
    """The command line."""
    try:
        layout, layers = inspect(Path(words[0]))
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps({"layout": layout, "layers": layers}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""One seed, many independent named streams, the same on every machine.

A stream is a counter-based Philox generator whose 128-bit key is a hash of the seed and the names. Two streams share
nothing unless seed and names are equal, so the order of minibatches cannot depend on how many numbers the
initialisation drew, and a stream needs no state to be saved: it is made again from its name.
"""

import hashlib

import numpy as np

from workbench.errors import is_count, require


def key(seed: int, *names: str | int) -> int:
    """Hash a seed and a path of names to a 128-bit integer.

    Args:
        seed: Non-negative integer chosen by the user.
        names: What the stream is for, from the general to the particular.

    Returns:
        An integer below ``2**128``.

    Raises:
        InputError: If ``seed`` is not a non-negative integer.
    """
    require(is_count(seed), "seed", "must be a non-negative integer", seed)
    path = "/".join([str(int(seed)), *map(str, names)])
    return int.from_bytes(hashlib.sha256(path.encode()).digest()[:16], "little")


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return the named random stream of a seed.

    Integers and permutations of the stream are the same on every machine and platform.

    Args:
        seed: Non-negative integer chosen by the user.
        names: What the stream is for, such as ``"projection", 100``.

    Returns:
        A NumPy generator on a Philox counter of its own.

    Example:
        >>> int(generator(0, "batches", 3).integers(100)) == int(generator(0, "batches", 3).integers(100))
        True
    """
    return np.random.Generator(np.random.Philox(key=key(seed, *names)))

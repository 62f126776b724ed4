"""What a network does on a split, as plain numbers that JSON holds."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.objective import Evaluation

Plain = dict[str, Any]


def outcome(seen: Evaluation) -> Plain:
    """Return loss, metric (``score``) and, of a classifier, which examples were right, packed as hexadecimals.

    Args:
        seen: Of a split.

    Returns:
        ``loss``, ``score``, ``right`` (None where examples are not right or wrong) and their number ``n``.

    Example:
        >>> outcome(Evaluation(0.5, 0.75, np.array([True, True, False, True])))
        {'loss': 0.5, 'score': 0.75, 'right': 'd0', 'n': 4}
    """
    bits = np.zeros(0, bool) if seen.correct is None else seen.correct
    told = None if seen.correct is None else np.packbits(bits).tobytes().hex()
    return {"loss": seen.loss, "score": seen.metric, "right": told, "n": len(bits)}


def right(found: Plain) -> NDArray[np.bool_] | None:
    """Return which examples were right, shape ``(n,)``, of what ``outcome`` packed; None where it could not."""
    if found["right"] is None:
        return None
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(found["right"]), np.uint8))
    return bits[: found["n"]].astype(bool)

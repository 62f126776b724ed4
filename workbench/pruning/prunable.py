"""Which entries of theta may be pruned: weights, unless more is asked."""

from collections.abc import Sequence

import torch
from torch import Tensor

from workbench.errors import require, require_choice
from workbench.layout import Layout, Role

_ROLES = ("weight", "bias", "norm", "embedding")


def prunable(layout: Layout, roles: Sequence[Role] = ("weight",), skip: Sequence[str] = ()) -> Tensor:
    """Mark the entries that may be pruned.

    Tied tensors stand once in theta, so they are counted once.

    Args:
        layout: Where each tensor stands in theta.
        roles: Kinds of tensors to prune: ``"weight"``, ``"bias"``, ``"norm"``, ``"embedding"``.
        skip: Names of tensors to leave out, such as an output layer's weight.

    Returns:
        True where an entry may be pruned, shape ``(D,)``.

    Raises:
        InputError: If a role or name is unknown, a tensor has no entries, or nothing is left to prune.

    Example:
        >>> from workbench.layout import layout_of
        >>> int(prunable(layout_of(torch.nn.Linear(3, 2))).sum())  # the weights, not the biases
        6
    """
    for role in roles:
        require_choice("roles", role, _ROLES)
    names = [entry.name for entry in layout.entries]
    for name in skip:
        require(name in names, "skip", f"must name tensors of the network ({', '.join(names)})", name)
    marked = torch.zeros(layout.D, dtype=torch.bool)
    for entry in layout.entries:
        require(entry.size > 0, "layout", "must have no empty tensor", entry.name, "remove that layer")
        marked[entry.offset : entry.offset + entry.size] = entry.role in roles and entry.name not in skip
    require(bool(marked.any()), "roles", "must leave something to prune", (tuple(roles), tuple(skip)))
    return marked

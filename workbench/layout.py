"""Where each parameter tensor stands in theta."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

from workbench.errors import require

Role = Literal["weight", "bias", "norm", "embedding"]

_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@dataclass(frozen=True)
class Entry:
    """One parameter tensor's place in theta: ``theta[offset : offset + size].view(shape)``."""

    name: str
    shape: tuple[int, ...]
    offset: int
    size: int
    role: Role


@dataclass(frozen=True)
class Layout:
    """Where each parameter tensor stands in theta, in ``named_parameters()`` order."""

    entries: tuple[Entry, ...]

    @property
    def D(self) -> int:
        """Number of trainable parameters."""
        return sum(entry.size for entry in self.entries)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of parameters of each tensor."""
        return tuple(entry.size for entry in self.entries)

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Cut a flat vector, shape ``(D,)``, into named views of the tensors' shapes."""
        return {e.name: flat[e.offset : e.offset + e.size].view(e.shape) for e in self.entries}


class Point(NamedTuple):
    """What a network is: theta, shape ``(D,)``, and its buffers by name (running statistics and the like)."""

    theta: Tensor
    buffers: dict[str, Tensor]


def layout_of(model: nn.Module) -> Layout:
    """Return the layout of a model's trainable parameters.

    Args:
        model: Any module; tied parameters count once, frozen ones not at all.

    Returns:
        Entries in ``named_parameters()`` order.

    Raises:
        InputError: If nothing in the model is trainable.
    """
    modules = reversed(list(model.modules()))  # of tied tensors the first owner counts, as for their name
    owners = {id(p): module for module in modules for p in module.parameters(recurse=False)}
    entries, offset = [], 0
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        role = _role(owners[id(parameter)], name, parameter)
        entries.append(Entry(name, tuple(parameter.shape), offset, parameter.numel(), role))
        offset += parameter.numel()
    require(offset > 0, "model", "must have at least one trainable parameter", type(model).__name__)
    return Layout(tuple(entries))


@contextmanager
def holding(model: nn.Module) -> Iterator[None]:
    """Keep a model's tensors: ``functional_call`` leaves those that it is given in a module that has two names."""
    held: list[Any] = [(own, dict(own)) for m in model.modules() for own in (m._parameters, m._buffers)]
    try:
        yield
    finally:
        for own, before in held:
            own.update(before)


def _role(owner: nn.Module, name: str, parameter: Tensor) -> Role:
    if isinstance(owner, _NORMS):
        return "norm"
    if isinstance(owner, nn.Embedding):
        return "embedding"
    return "bias" if name.rpartition(".")[2].startswith("bias") or parameter.ndim < 2 else "weight"

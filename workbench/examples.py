"""Examples behind one interface: tensors held in memory, or a DataLoader's dataset read in an order of ours."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from workbench.errors import require


class Tensors:
    """Examples held in two tensors."""

    def __init__(self, x: Tensor, y: Tensor, device: torch.device, dtype: torch.dtype) -> None:
        require(len(x) == len(y) > 0, "data", "must hold as many targets as inputs, and some", (len(x), len(y)))
        self.x, self.y = (t.to(device, dtype if t.is_floating_point() else None) for t in (x, y))

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, index: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the examples of an index tensor, all of them for None."""
        if index is None:
            return self.x, self.y
        return self.x.index_select(0, index), self.y.index_select(0, index)  # a third of the time of x[index]

    def chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all examples in their order, ``size`` at a time."""
        return zip(self.x.split(size), self.y.split(size), strict=True)


class Loaded:
    """Examples read one by one through a DataLoader's dataset and collate function; the order is ours."""

    def __init__(self, loader: Any, device: torch.device, dtype: torch.dtype) -> None:
        self.dataset, self.collate, self.device, self.dtype = loader.dataset, loader.collate_fn, device, dtype
        require(len(self.dataset) > 0, "data", "must hold examples", self.dataset)

    def __len__(self) -> int:
        return len(self.dataset)

    def batch(self, index: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the examples of an index tensor, all of them for None."""
        rows = range(len(self)) if index is None else index.tolist()
        x, y = self.collate([self.dataset[i] for i in rows])
        return tuple(t.to(self.device, self.dtype if t.is_floating_point() else None) for t in (x, y))

    def chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all examples in their order, ``size`` at a time."""
        return (self.batch(index) for index in torch.arange(len(self)).split(size))


def source(data: Any, device: torch.device, dtype: torch.dtype) -> Tensors | Loaded:
    """Read tensors, a split or a DataLoader through one interface."""
    if isinstance(data, torch.utils.data.DataLoader):
        mappable = hasattr(data.dataset, "__getitem__") and hasattr(data.dataset, "__len__")
        require(mappable, "data", "must be map-style: a length and items by index", type(data.dataset).__name__)
        # the order is ours, so a sampler that leaves examples out or weights them would be silently undone
        kinds = [type(sampler).__name__ for sampler in (data.sampler, data.batch_sampler)]
        plain = kinds[0] in {"SequentialSampler", "RandomSampler"} and kinds[1] == "BatchSampler"
        rule, remedy = "must not have a sampler of its own", "select examples with torch.utils.data.Subset"
        require(plain and not getattr(data.sampler, "replacement", False), "data", rule, kinds, remedy)
        return Loaded(data, device, dtype)
    x, y = (data.x, data.y) if hasattr(data, "x") and hasattr(data, "y") else data
    return Tensors(torch.as_tensor(x), torch.as_tensor(y), device, dtype)

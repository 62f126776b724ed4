"""Any network with its data, as something to examine: its loss, fresh copies of it, and a name that tells it apart."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from workbench import models, pruning
from workbench.errors import InputError, reading, require
from workbench.examples import source
from workbench.layout import Point
from workbench.measures.outcomes import outcome
from workbench.objective import Loss, Supervised
from workbench.seeds import generator

_CHUNK_BYTES = 2**28  # that one chunk's forward and backward pass may hold
_OWN = 1.4  # operations have tensors of their own that nobody sees: up to 1.34 in all, of an LSTM
_SOME = 2000  # examples of a split that its name is made of


class Subject:
    """A network and its data.

    Args:
        model: Any module; copied. Of a tuple or mapping that it returns, ``logits`` counts, else the first entry.
        train: As for ``Supervised``.
        test: As for ``Supervised``; None to test on the training examples.
        loss: As for ``Supervised``; None for squared error where targets are floats, else cross-entropy.
        n_examples: Training examples at most in the ``sample``.
        initial: ``initial(seed)`` returns a fresh network; None draws He-normal weights.
        device: Where it lives.
        seed: Of the sample.

    Attributes:
        objective: At the point.
        point: The network given.
        bytes: That a training step holds for each of its examples.
        sample: Objective over some training examples.
        split: Where it is tested.
        given: ``outcome`` of the network given.
        chance: Accuracy of naming the commonest class; 0 where there are no classes.
        name: Hash of network, data and what they give together.

    Raises:
        InputError: If model and data do not fit, or the loss is not finite.
    """

    def __init__(
        self,
        model: nn.Module,
        train: Any,
        test: Any,
        loss: Any,
        n_examples: int,
        initial: Callable[[int], nn.Module] | None,
        device: str,
        seed: int,
    ) -> None:
        self._data, self._initial, self._device, self._size = (train, None, test), initial, device, 1000
        rule = "model, train and test must fit together: examples are (input, target), outputs' classes come last"
        with reading(rule, "wrap the model or the dataset so that model(input) answers for target", InputError):
            _, y = next(source(train, torch.device("cpu"), torch.float32).chunks(1))
            self._loss: Any | Loss = loss or ("squared_error" if y.is_floating_point() else "cross_entropy")
            self.objective = self.over(model)
            self.bytes = bytes_per_example(self.objective)
            self._size = int(np.clip(_CHUNK_BYTES / self.bytes, 2, 1000))
            self.objective.chunk_size = self._size
            self.point = Point(self.objective.theta_0, self.objective.buffers_0)
            self.sample = self.objective.sample(min(n_examples, len(self.objective.splits["train"])), seed)
            self.split = "train" if test is None else "test"
            self.given = outcome(self.objective.evaluate(self.point, self.split))
            losses = self.sample.per_example_loss(self.point)
        remedy = "look for nan or infinities in its parameters and in the inputs"
        finite = bool(losses.isfinite().all()) and isfinite(self.given["loss"])
        require(finite, "model", "must have a finite loss on every example", float(losses.mean()), remedy)
        self.chance = self._chance()
        start = [self.fresh(0).theta_0] if initial else []
        # what it answers is part of the name: the source of its forward pass may change
        self.name = digest(repr(model), self.split, repr(self.given), *self.point, *start, *self._some())

    def over(self, model: nn.Module) -> Supervised:
        """Return the loss of such a network, given as a module."""
        train, validation, test = self._data
        settings: dict[str, Any] = {"loss": self._loss, "device": self._device, "chunk_size": self._size}
        found = Supervised(model, train, validation, test, **settings)
        x, _ = next(found.splits["train"].chunks(2))
        with found.visit(found.theta_0), torch.no_grad():
            plain = isinstance(found.model(x), Tensor)
        if not plain:
            found.model.register_forward_hook(_first)
        return found

    def again(self) -> Supervised:
        """Return the loss of a copy of the network given, to be trained on."""
        return self.over(self.objective.module_at(self.point))

    def fresh(self, seed: int) -> Supervised:
        """Return the loss of an untrained network; what is frozen stays as given, gains of no known layer shuffled."""
        if self._initial:
            return self.over(self._initial(seed))
        network, given = (self.objective.module_at(self.point) for _ in range(2))
        models.initialise(network, seed)
        for (name, own), value in zip(network.named_parameters(), given.parameters(), strict=True):
            if own.ndim < 2 and own.requires_grad and name.rpartition(".")[2] not in ("weight", "bias"):
                order = generator(seed, "fresh", name).permutation(own.numel())
                own.data.copy_(value.data.flatten()[torch.from_numpy(order)].view_as(own))  # zero would cut its branch
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.reset_running_stats()
        return self.over(network)

    def mask(self, score: str, density: float, seed: int = 0) -> Tensor:
        """Return the mask of a density by a score of the network given, over all weights, shape ``(D,)``."""
        scores, free = pruning.score(score, self.sample, self.point.theta, seed), pruning.prunable(self.sample.layout)
        return pruning.select(scores, density, prunable=free, layout=self.sample.layout, seed=seed)

    def at(self, state: Mapping[str, Tensor]) -> Point:
        """Return the point of a state dict of such a network."""
        theta = self.point.theta
        flat = torch.cat([state[entry.name].detach().flatten().to(theta) for entry in self.objective.layout.entries])
        return Point(flat, {name: state[name].to(value) for name, value in self.point.buffers.items() if name in state})

    def _chance(self) -> float:
        if self.objective.metric_name != "accuracy":
            return 0.0
        labels = torch.cat([y.flatten() for _, y in self.objective.splits[self.split].chunks(self._size)])
        return float(labels.unique(return_counts=True)[1].max() / len(labels))

    def _some(self) -> Iterable[Tensor]:
        """Yield what tells the data apart: numbers of examples, and examples evenly spread."""
        for examples in self.objective.splits.values():
            n = len(examples)
            yield torch.tensor(n)
            yield from examples.batch(torch.linspace(0, n - 1, min(n, _SOME)).long().to(self._device))


def _first(_: nn.Module, __: Any, out: Any) -> Tensor:
    """Return the tensor that counts of what a model returns."""
    while not isinstance(out, Tensor):
        out = out["logits"] if isinstance(out, Mapping) and "logits" in out else out[0]
    return out


def digest(*parts: str | Tensor | Mapping[str, Tensor]) -> str:
    """Return 16 hexadecimal digits of texts, tensors and mappings to tensors."""
    found = hashlib.sha256()
    for part in parts:
        for each in part.values() if isinstance(part, Mapping) else [part]:
            found.update(each.encode() if isinstance(each, str) else each.detach().cpu().numpy().tobytes())
    return found.hexdigest()[:16]


class _Live(TorchDispatchMode):
    """The bytes that the tensors made here hold, after each operation, the backward pass's included."""

    def __init__(self, *given: Tensor) -> None:
        super().__init__()
        self.held, self.bytes = WeakIdKeyDictionary({t.untyped_storage(): t.nbytes for t in given}), list[int]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        made = [t for t in tree_leaves(out) if isinstance(t, Tensor) and t.layout == torch.strided]
        self.held.update({t.untyped_storage(): t.untyped_storage().nbytes() for t in made})
        self.bytes.append(sum(self.held.values()))
        return out


def bytes_per_example(objective: Supervised) -> float:
    """Return how many bytes an example adds to the most that a training step holds, at ``theta_0``."""
    seen, n = [], len(objective.splits["train"])
    with objective.visit(objective.theta_0):
        for k in (2, 4):  # of one example there is no variance
            x, y = objective.train_batch(torch.arange(k, device=objective.device) % n)
            with _Live(x, y) as live:
                objective.backward(x, y)
            seen.append(live.bytes)
    # at each moment: what holds most of two examples may hold least of many
    return max(1.0, _OWN * max((many - few) / 2 for few, many in zip(*seen, strict=False)))

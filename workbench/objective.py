"""Model + data + loss as a function of a point: one flat vector theta and the buffers that are not theta.

Theta holds the unique trainable parameters in ``named_parameters()`` order, tied ones once, laid end to end. The
objective owns a copy of the model whose parameters and gradients are *views* of two flat buffers: writing theta moves
the network, and one backward pass leaves the gradient flat.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workbench.errors import is_count, require, require_choice
from workbench.examples import Tensors, source
from workbench.layout import Point, holding, layout_of
from workbench.seeds import generator

BatchStats = Literal["stored", "recalibrated"]
Loss = Callable[[Tensor, Tensor], Tensor]


class Evaluation(NamedTuple):
    """Mean loss and metric on one split; ``correct``, shape ``(n,)``, per example for accuracies, else None."""

    loss: float
    metric: float
    correct: np.ndarray | None


def _cross_entropy(outputs: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy in nats per example; sequences are averaged over their positions."""
    losses = F.cross_entropy(outputs.flatten(0, -2), y.flatten(), reduction="none")
    return losses.view(len(y), -1).mean(1)


def _squared_error(outputs: Tensor, y: Tensor) -> Tensor:
    """Squared error per example, summed over output coordinates."""
    return (outputs.reshape(y.shape) - y).square().reshape(len(y), -1).sum(1)  # unlike shapes must not broadcast


_LOSSES: dict[str, Loss] = {"cross_entropy": _cross_entropy, "squared_error": _squared_error}


class Supervised:
    """Mean loss of a network on a training split, and its measurements on every split, as functions of theta.

    Args:
        model: Any ``nn.Module``; copied, so the caller's model is never touched.
        train: ``(x, y)`` tensors, an object with ``.x`` and ``.y``, or a ``DataLoader`` over a map-style dataset.
        validation: Likewise, for choosing settings; None if there is none.
        test: Likewise, for the number that is reported; None if there is none.
        loss: ``"cross_entropy"`` (nats), ``"squared_error"``, or a function of outputs and targets that returns
            one value per example, shape ``(n,)``.
        metric: ``"accuracy"`` or ``"r2"``; by default the one that goes with the loss.
        device: Where model and data live.
        dtype: Floating type of parameters and inputs; float64 for references.
        chunk_size: Examples per forward pass when a whole split is evaluated.

    Raises:
        InputError: If an argument breaks its rule.

    Attributes:
        D: Number of trainable parameters.
        layout: Names, shapes, offsets and roles of the tensors in theta.
        theta: The flat buffer, shape ``(D,)``, whose views are the model's parameters.
        grad: The flat buffer, shape ``(D,)``, whose views are their gradients.
        theta_0: The parameters the model came with, shape ``(D,)``.

    Example:
        >>> x, y = torch.eye(2, dtype=torch.float64), torch.tensor([1.0, 3.0], dtype=torch.float64)
        >>> line = nn.Linear(2, 1, bias=False)
        >>> objective = Supervised(line, (x, y), loss="squared_error", dtype=torch.float64)
        >>> objective.loss(torch.tensor([1.0, 1.0], dtype=torch.float64))  # (0 + 4) / 2
        2.0
    """

    def __init__(
        self,
        model: nn.Module,
        train: Any,
        validation: Any = None,
        test: Any = None,
        *,
        loss: Literal["cross_entropy", "squared_error"] | Loss = "cross_entropy",
        metric: Literal["accuracy", "r2"] | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        chunk_size: int = 1000,
    ) -> None:
        if not callable(loss):
            require_choice("loss", loss, tuple(_LOSSES))
        metric = metric or ("r2" if loss == "squared_error" else "accuracy")
        require_choice("metric", metric, ("accuracy", "r2"))
        require(chunk_size >= 1, "chunk_size", "must be at least 1", chunk_size)
        self.device, self.dtype, self.chunk_size, self.metric_name = torch.device(device), dtype, chunk_size, metric
        self._per_example = loss if callable(loss) else _LOSSES[loss]
        given = {"train": train, "validation": validation, "test": test}
        self.splits = {k: source(v, self.device, dtype) for k, v in given.items() if v is not None}
        require("train" in self.splits, "train", "must hold examples", train)
        self.model = copy.deepcopy(model).to(device=self.device, dtype=dtype)
        self.layout = layout_of(self.model)
        self.D = self.layout.D
        self.theta = torch.empty(self.D, device=self.device, dtype=dtype)
        self.grad = torch.zeros_like(self.theta)
        self._bind()
        self.theta_0 = self.theta.clone()
        self.buffers_0 = self.buffers()

    def _bind(self) -> None:
        """Make every parameter and gradient a view of the flat buffers; tied ones stay one tensor."""
        values, gradients = self.layout.views(self.theta), self.layout.views(self.grad)
        for name, parameter in self.model.named_parameters():
            if name in values:
                values[name].copy_(parameter.detach())
                parameter.data, parameter.grad = values[name], gradients[name]

    def buffers(self) -> dict[str, Tensor]:
        """Return a copy of the model's buffers as they stand."""
        return {name: value.clone() for name, value in self.model.named_buffers()}

    def set_point(self, point: Tensor | Point) -> None:
        """Move the model to theta, shape ``(D,)``, leaving its buffers, or to a point with buffers."""
        theta, buffers = point if isinstance(point, tuple) else (point, {})
        require(theta.shape == self.theta.shape, "theta", f"must have shape ({self.D},)", tuple(theta.shape))
        if theta.data_ptr() != self.theta.data_ptr():
            self.theta.copy_(theta.detach())
        self.set_buffers(buffers)

    def set_buffers(self, buffers: Mapping[str, Tensor]) -> None:
        """Copy buffers into the model."""
        held = dict(self.model.named_buffers()) if buffers else {}  # looked up: a module may replace its buffers
        for name, value in buffers.items():
            held[name].copy_(value)

    def module_at(self, point: Tensor | Point) -> nn.Module:
        """Return a plain module of its own at a point, in evaluation mode, to keep or to save."""
        with self.visit(point):
            module = copy.deepcopy(self.model)
        for parameter in module.parameters():
            parameter.data, parameter.grad = parameter.data.clone(), None
        return module.eval()

    def minibatches(self, seed: int, batch_size: int | None, start: int = 0) -> Iterator[Tensor | None]:
        """Yield indices of minibatches for ever, each epoch a fresh order but its last, smaller batch; None: all.

        Epoch e's order is a function of seed and e alone: ``start`` is entered directly, no other draw can change it.
        """
        n = len(self.splits["train"])
        if batch_size is None or batch_size >= n:
            while True:
                yield None
        per_epoch = n // batch_size
        epoch, offset = divmod(start, per_epoch)
        while True:
            order = torch.from_numpy(generator(seed, "minibatches", epoch).permutation(n)).to(self.device)
            yield from order[offset * batch_size : per_epoch * batch_size].split(batch_size)
            epoch, offset = epoch + 1, 0

    def train_batch(self, index: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return inputs and targets of a minibatch of the training split."""
        return self.splits["train"].batch(index)

    def backward(self, x: Tensor, y: Tensor) -> Tensor:
        """Write the mean loss's gradient at the current theta, in training mode, into ``grad``; return the loss."""
        if not self.model.training:
            self.model.train()
        self.grad.zero_()
        loss = self._mean(self.model(x), y)
        loss.backward()
        return loss.detach()

    def _mean(self, outputs: Tensor, y: Tensor) -> Tensor:
        if self._per_example is _cross_entropy:  # the fused mean is faster and equal
            return F.cross_entropy(outputs.flatten(0, -2), y.flatten())
        return self.losses(outputs, y).mean()

    def losses(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return each example's loss, shape ``(n,)``, of a batch's outputs and targets; differentiable."""
        losses = self._per_example(outputs, y)
        require(losses.shape == y.shape[:1], "loss", "must return one value per example", tuple(losses.shape))
        return losses

    def sample(self, n_examples: int | None, seed: int = 0, split: str = "train") -> "Supervised":
        """Return an objective that trains on some random examples of a split, None for all; they share the network."""
        require_choice("split", split, tuple(self.splits))
        other, examples = copy.copy(self), self.splits[split]
        if n_examples is not None:
            n = len(examples)
            require(is_count(n_examples, 1) and n_examples <= n, "n_examples", f"must be in 1..{n}", n_examples)
            index = torch.from_numpy(generator(seed, "score examples").permutation(n)[:n_examples]).to(self.device)
            examples = Tensors(*examples.batch(index), self.device, self.dtype)
        other.splits = {"train": examples}
        return other

    @contextmanager
    def visit(self, point: Tensor | Point, batch_stats: BatchStats = "stored") -> Iterator[None]:
        """Stand at a point in evaluation mode; afterwards theta, gradient, buffers and mode are what they were."""
        require_choice("batch_stats", batch_stats, ("stored", "recalibrated"))
        kept = Point(self.theta.clone(), self.buffers())
        kept_grad, mode = self.grad.clone(), self.model.training
        try:
            self.set_point(point)
            if batch_stats == "recalibrated":
                self._recalibrate()
            self.model.eval()
            with holding(self.model):
                yield
        finally:
            self.set_point(kept)
            self.grad.copy_(kept_grad)
            self.model.train(mode)

    def _recalibrate(self) -> None:
        """Set running statistics to the average over the training split at the current theta."""
        norms = [m for m in self.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        momenta = [m.momentum for m in norms]
        self.model.eval()  # dropout stays off: only the norms see batches
        for norm in norms:
            norm.train().reset_running_stats()
            norm.momentum = None  # cumulative average instead of an exponential one
        # chunks of equal size: each counts the same, and none is a single example, which has no variance
        n = len(self.splits["train"])
        try:
            with torch.no_grad():
                for rows in torch.arange(n, device=self.device).tensor_split(-(-n // self.chunk_size)):
                    self.model(self.splits["train"].batch(rows)[0])
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum

    def recalibrated(self, theta: Tensor) -> Point:
        """Return the point at theta with normalisation statistics recomputed there on the training split."""
        with self.visit(theta, "recalibrated"):
            return Point(self.theta.clone(), self.buffers())

    def outputs(self, split: str) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield outputs and targets of a split, chunk by chunk, where the model stands and in the mode it is in."""
        require_choice("split", split, tuple(self.splits))
        for x, y in self.splits[split].chunks(self.chunk_size):
            yield self.model(x), y

    @torch.no_grad()
    def logits(self, point: Tensor | Point, split: str = "test", batch_stats: BatchStats = "stored") -> Tensor:
        """Return the network's outputs on a split, shape ``(n, ...)``, in the order of the data."""
        with self.visit(point, batch_stats):
            return torch.cat([outputs for outputs, _ in self.outputs(split)])

    @torch.no_grad()
    def per_example_loss(
        self, point: Tensor | Point, split: str = "train", batch_stats: BatchStats = "stored"
    ) -> Tensor:
        """Return each example's loss, shape ``(n,)``, in the order of the data."""
        with self.visit(point, batch_stats):
            return torch.cat([self.losses(outputs, y) for outputs, y in self.outputs(split)])

    def loss(self, point: Tensor | Point, split: str = "train", batch_stats: BatchStats = "stored") -> float:
        """Return the mean loss per example of a split."""
        return float(self.per_example_loss(point, split, batch_stats).double().mean())

    @torch.no_grad()
    def evaluate(self, point: Tensor | Point, split: str = "test", batch_stats: BatchStats = "stored") -> Evaluation:
        """Measure a split in one pass, BatchNorm's statistics ``"stored"`` or ``"recalibrated"`` on the training split.

        Returns:
            Mean loss, accuracy in 0..1 or the coefficient of determination, and each example's correctness.
        """
        with self.visit(point, batch_stats):
            pairs = list(self.outputs(split))
        outputs, targets = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        loss = float(self.losses(outputs, targets).double().mean())
        if self.metric_name == "r2":
            errors, spread = outputs.flatten() - targets.flatten(), targets.double() - targets.double().mean()
            return Evaluation(loss, float(1 - errors.double().square().sum() / spread.square().sum()), None)
        many = outputs.ndim > 1 and outputs.shape[-1] > 1
        require(many, "metric", "of accuracy needs one output per class", tuple(outputs.shape))
        correct = (outputs.argmax(-1) == targets.view(outputs.shape[:-1])).cpu().numpy()
        return Evaluation(loss, float(correct.mean()), correct if correct.ndim == 1 else None)

    def gradient(self, point: Tensor | Point, split: str = "train") -> Tensor:
        """Return the exact gradient of a split's mean loss at a point, shape ``(D,)``, in evaluation mode."""
        with self.visit(point):
            self.grad.zero_()
            n = len(self.splits[split])
            for outputs, y in self.outputs(split):
                (self.losses(outputs, y).sum() / n).backward()
            return self.grad.clone()

    def __call__(self, theta: Tensor, split: str = "train") -> Tensor:
        """Return a split's mean loss as a differentiable function of theta, to any order; evaluation mode."""
        with self.visit(self.theta):
            n, total = len(self.splits[split]), theta.new_zeros(())
            state = {**self.layout.views(theta), **self.buffers()}
            for x, y in self.splits[split].chunks(self.chunk_size):
                total = total + self.losses(torch.func.functional_call(self.model, state, (x,)), y).sum() / n
            return total

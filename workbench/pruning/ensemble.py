"""Many masked networks of one architecture at once: trained on one minibatch stream, or only measured.

The networks' rows of a layer stand below one another in one matrix: the first layer's share their inputs, later ones
are blocks on a diagonal. Sparse layers hold their nonzeros alone (values, gradients, the optimizer's moments), dense
ones are stacked products. Each network ends where it would have ended alone, to rounding.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workbench.errors import is_number, require, require_choice
from workbench.layout import Entry, Layout, Point
from workbench.objective import Evaluation, Supervised
from workbench.pruning.sparse import PAYS_BELOW, Pattern, density
from workbench.recipes import Recipe
from workbench.seeds import key

_ELEMENTWISE = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Identity)
_CHUNK = 256  # examples at once when a split is measured: more of them leave the cache
_GROUP_ENTRIES = 2**24  # masks times D that ``evaluate_masks`` holds at once
_TINY = 30_000  # parameters, below which dense networks are measured together as fast or faster


@dataclass
class Member:
    """What training did to one network of an ensemble: a ``History`` with theta in place of phi.

    Attributes:
        outcome: ``"finished"``, or ``"diverged"`` (a loss or a parameter that is nan or infinite).
        n_steps: Steps taken, the first bad one included.
        theta: Final parameters, shape ``(D,)``; pruned ones are exactly zero.
        losses: Minibatch loss of each step, shape ``(n_steps,)``.
        evaluations: One dict per evaluation: step, split, loss, metric.
        seconds: CPU time of the process, shared evenly.
    """

    outcome: Literal["finished", "diverged"]
    n_steps: int
    theta: Tensor
    losses: np.ndarray
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0


class _Layer:
    """One linear layer of N networks, their rows below one another; activations have shape (units, examples)."""

    def __init__(self, entries: Sequence[Entry], masks: Tensor, first: bool, below: float, dtype: torch.dtype) -> None:
        (self.N, D), (weight, *biases), self.first, self.pattern = masks.shape, entries, first, None
        self.n_out, self.n_in = weight.shape
        kept = masks[:, weight.offset : weight.offset + weight.size]
        sparse = int(kept.count_nonzero()) < below * kept.numel()
        net, entry = (kept if sparse else torch.ones_like(kept)).nonzero(as_tuple=True)
        starts = D * torch.arange(self.N, device=masks.device)
        self.places = [starts[net] + weight.offset + entry]
        for bias in biases:
            own = torch.arange(bias.offset, bias.offset + bias.size, device=masks.device)
            self.places.append((starts[:, None] + own).flatten())
        if sparse:
            columns = entry % self.n_in + (0 if first else net * self.n_in)
            shape = (self.N * self.n_out, self.n_in if first else self.N * self.n_in)
            self.pattern = Pattern(net * self.n_out + entry // self.n_in, columns, shape, dtype)

    def __call__(self, h: Tensor, values: Tensor, bias: Tensor | None = None) -> Tensor:
        """Map the inputs of all networks to their outputs."""
        bias = (values.new_zeros(1) if bias is None else bias).expand(self.N * self.n_out)[:, None]
        if self.pattern:
            return self.pattern(values, h).add_(bias)
        if self.first:
            return torch.addmm(bias, values.view(-1, self.n_in), h)
        blocks, ends = values.view(self.N, self.n_out, self.n_in), bias.view(self.N, self.n_out, 1)
        return torch.baddbmm(ends, blocks, h.view(self.N, self.n_in, -1)).flatten(0, 1)


def _stages(model: nn.Module, layout: Layout) -> list[Any]:
    """Return a multilayer perceptron's stages, a linear one as its entries of theta; none for any other network."""
    stages: list[Any] = []
    entries = list(layout.entries)
    for k, module in enumerate(model if isinstance(model, nn.Sequential) else ()):
        if type(module) is nn.Linear:
            shapes = [tuple(p.shape) for p in module.parameters()]
            found, entries = entries[: len(shapes)], entries[len(shapes) :]
            if [entry.shape for entry in found] != shapes:
                return []  # frozen, or used twice
            stages.append(found)
        elif type(module) in _ELEMENTWISE:
            stages.append(module)
        elif k or type(module) is not nn.Flatten:
            return []
    return stages


class SparseEnsemble:
    """Masked multilayer perceptrons of one architecture, trained and measured together.

    That pays where they are sparse or tiny; larger networks above a density of about 0.3 train faster one by one.

    Args:
        objective: Data, loss and architecture: an ``nn.Sequential`` of linear layers and elementwise activations, a
            ``Flatten`` in front of them allowed. It is left as it is.
        thetas: Where the networks stand, shape ``(N, D)``, or ``(D,)`` for all; pruned entries become 0.
        masks: True = kept, bool, shape ``(N, D)``; all True for a stack of dense networks.
        below: Layers of a lower density, over all networks, are sparse.

    Raises:
        InputError: If the architecture is another, or shapes or types do not fit.

    Attributes:
        phi: The numbers of all networks, flat: nonzeros of sparse layers, everything of dense ones, biases.

    Example:
        >>> x, y = torch.eye(2), torch.tensor([1.0, 3.0])
        >>> objective = Supervised(nn.Sequential(nn.Linear(2, 1, bias=False)), (x, y), loss="squared_error")
        >>> ensemble = SparseEnsemble(objective, torch.tensor([1.0, 3.0]), torch.tensor([[True, False], [True, True]]))
        >>> [found.loss for found in ensemble.evaluate("train")]
        [4.5, 0.0]
    """

    def __init__(self, objective: Supervised, thetas: Tensor, masks: Tensor, *, below: float = PAYS_BELOW) -> None:
        stages = _stages(objective.model, objective.layout)
        rule, kind = "must be an nn.Sequential of linear layers and elementwise activations", type(objective.model)
        require(bool(stages), "objective.model", rule, kind.__name__, "train its masks one by one")
        _require_masks(masks, objective.D)
        fits = thetas.shape in {masks.shape, masks.shape[1:]}
        require(fits, "thetas", f"must have shape {tuple(masks.shape)} or ({objective.D},)", tuple(thetas.shape))
        require(is_number(below) and 0 <= below <= 1, "below", "must be in [0, 1]", below)
        self.objective, self.shape, self.stages = objective, masks.shape, list[Any]()
        places: list[Tensor] = []
        for stage in stages:
            if isinstance(stage, list):
                stage = _Layer(stage, masks, not places, below, objective.dtype)
                places += stage.places
            self.stages.append(stage)
        self.sizes, self.places = [len(place) for place in places], torch.cat(places)
        self.kept = masks.flatten()[self.places]
        start = thetas.detach().to(objective.theta).expand(masks.shape).flatten()[self.places]
        self.phi = torch.where(self.kept, start, 0)

    @property
    def thetas(self) -> Tensor:
        """Where the networks stand, shape ``(N, D)``, a new tensor."""
        flat = self.phi.new_zeros(self.shape.numel()).index_copy_(0, self.places, self.phi.detach())
        return flat.view(self.shape)

    def outputs(self, x: Tensor) -> Tensor:
        """Return all networks' outputs, shape ``(N, n, outputs)``, for inputs of shape ``(n, ...)``."""
        pieces = iter(self.phi.split(self.sizes))
        h = F.pad(x.flatten(1).T, (0, -len(x) % 8)).contiguous()  # whole vector registers save a sixth of the gradient
        for stage in self.stages:
            h = stage(h, *islice(pieces, len(stage.places))) if isinstance(stage, _Layer) else stage(h)
        return h.view(self.shape[0], -1, h.shape[1])[..., : len(x)].transpose(1, 2)

    def losses(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return every example's loss in every network, shape ``(N, n)``."""
        return self.objective.losses(outputs.flatten(0, 1), torch.cat([y] * len(outputs))).view(outputs.shape[:2])

    @torch.no_grad()
    def evaluate(self, split: str = "test") -> list[Evaluation]:
        """Measure loss and metric of every network on a split; each as ``Supervised.evaluate`` would."""
        require_choice("split", split, tuple(self.objective.splits))
        chunks = self.objective.splits[split].chunks(min(_CHUNK, self.objective.chunk_size))
        parts = zip(*((self.outputs(x), y) for x, y in chunks), strict=True)
        found, y = (torch.cat(part, dim) for part, dim in zip(parts, (1, 0), strict=True))
        if self.objective.metric_name == "r2" or found.shape[2] == 1:
            return [self.objective.evaluate(theta, split) for theta in self.thetas]
        correct = (found.argmax(2) == y.view(-1)).cpu().numpy()
        losses = self.losses(found, y).double().mean(1).tolist()
        return [Evaluation(loss, float(own.mean()), own) for loss, own in zip(losses, correct, strict=True)]

    def train(
        self, recipes: Recipe | Sequence[Recipe], seed: int, *, eval_splits: Sequence[str] = ("validation",)
    ) -> list[Member]:
        """Train all networks on one replicate's minibatch stream, from where they stand.

        One that diverges goes on with nan and leaves the others alone.

        Args:
            recipes: One for all or one each, which may differ in ``lr`` only; ``patience`` None.
            seed: The replicate: names the minibatch order, the same as of ``workbench.train``.
            eval_splits: Splits measured every ``eval_every_steps``.

        Returns:
            What became of each network, in order.

        Raises:
            InputError: If recipes are too few or too many, disagree or have patience, or a split is unknown.
        """
        N = self.shape[0]
        recipes = [recipes] * N if isinstance(recipes, Recipe) else list(recipes)
        require(len(recipes) == N, "recipes", f"must be one, or one a network ({N})", len(recipes))
        alike = all(replace(r, lr=recipes[0].lr) == recipes[0] for r in recipes)
        require(alike, "recipes", "must agree in all but lr within an ensemble", recipes)
        patience = recipes[0].patience
        require(patience is None, "patience", "must be None in an ensemble", patience, "train such runs one by one")
        for split in eval_splits if recipes[0].eval_every_steps else ():
            require_choice("eval_splits", split, tuple(self.objective.splits))
        started, losses, evaluations = time.process_time(), *self._run(recipes, seed, eval_splits)
        seconds, members = (time.process_time() - started) / N, []
        for theta, own, found in zip(self.thetas, losses, evaluations, strict=True):
            bad = np.flatnonzero(~np.isfinite(own))
            own = own[: bad[0] + 1] if len(bad) else own
            outcome: Any = "diverged" if len(bad) or not theta.isfinite().all() else "finished"
            found = [e for e in found if outcome == "finished" or e["step"] < len(own)]
            members.append(Member(outcome, len(own), theta, own, found, seconds))
        return members

    def _run(self, recipes: Sequence[Recipe], seed: int, splits: Sequence[str]) -> tuple[np.ndarray, list[list[Any]]]:
        """Take all steps; return losses, shape (N, n_steps), and each network's evaluations."""
        objective, recipe, descent = self.objective, recipes[0], _Descent(self, recipes)
        losses = self.phi.new_full((self.shape[0], recipe.n_steps), math.nan, requires_grad=False)
        evaluations: list[list[Any]] = [[] for _ in recipes]
        augmentation = key(seed, "augmentation") % 2**62
        with torch.random.fork_rng(devices=[]):
            for step, index in zip(range(recipe.n_steps), objective.minibatches(seed, recipe.batch_size), strict=False):
                torch.default_generator.manual_seed(augmentation + step)  # a user's dataset may draw random numbers
                x, y = objective.train_batch(index)
                own = self.losses(self.outputs(x), y).mean(1)
                descent.step(torch.autograd.grad(own.sum(), self.phi)[0], recipe.lr_factor(step))
                losses[:, step] = own.detach()
                now = recipe.eval_every_steps and (step + 1) % recipe.eval_every_steps == 0
                for split in splits if now else ():
                    for record, found in zip(evaluations, self.evaluate(split), strict=True):
                        record.append({"step": step + 1, "split": split, "loss": found.loss, "metric": found.metric})
        self.phi = self.phi.detach()
        return losses.cpu().numpy(), evaluations


class _Descent:
    """One fused optimizer over the numbers of all networks, each with its own learning rate."""

    def __init__(self, ensemble: SparseEnsemble, recipes: Sequence[Recipe]) -> None:
        self.phi, self.kept, recipe = ensemble.phi.requires_grad_(), ensemble.kept, recipes[0]
        self.peak, self.masked = max(r.lr for r in recipes), not self.kept.all()
        self.alike = all(r.lr == self.peak for r in recipes)
        self.share = self.phi.new_tensor([r.lr / self.peak for r in recipes])[ensemble.places // ensemble.shape[1]]
        settings: dict[str, Any] = {"lr": recipe.lr, "weight_decay": recipe.weight_decay, "fused": True}
        settings |= {"momentum": recipe.momentum} if recipe.optimizer == "sgd" else {}
        kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
        self.optimizer = kinds[recipe.optimizer]([self.phi], **settings)

    @torch.no_grad()
    def step(self, grad: Tensor, factor: float) -> None:
        """Take one step; pruned entries of dense layers have no gradient, so that they and their moments stay 0."""
        self.phi.grad = grad.mul_(self.kept) if self.masked else grad
        self.optimizer.param_groups[0]["lr"] = self.peak * factor
        before = self.phi if self.alike else self.phi.clone()
        self.optimizer.step()
        if not self.alike:  # the steps of SGD, Adam and AdamW are proportional to the rate
            torch.lerp(before, self.phi, self.share, out=self.phi)


def evaluate_masks(
    objective: Supervised, point: Tensor | Point, masks: Tensor, split: str = "test", **options: Any
) -> list[Evaluation]:
    """Measure one network under many masks: tiny or sparse multilayer perceptrons together, others one by one.

    Args:
        objective: Left as it is.
        point: Theta, shape ``(D,)``, or a point with its buffers.
        masks: True = kept, bool, shape ``(n_masks, D)``.
        split: Which examples.
        options: Of ``Supervised.evaluate``, such as ``batch_stats="recalibrated"``.

    Returns:
        What ``objective.evaluate`` finds at each masked theta, to rounding.

    Raises:
        InputError: If shapes or types do not fit or the split is unknown.
    """
    theta, buffers = point if isinstance(point, tuple) else (point, {})
    _require_masks(masks, objective.D)
    require(theta.shape == (objective.D,), "theta", f"must have shape ({objective.D},)", tuple(theta.shape))
    perceptron, found = bool(_stages(objective.model, objective.layout)), list[Evaluation]()
    for group in masks.split(max(1, _GROUP_ENTRIES // objective.D)):
        if perceptron and (objective.D < _TINY or density(group) < PAYS_BELOW):
            found += SparseEnsemble(objective, theta, group).evaluate(split)
        else:
            thetas = (torch.where(mask, theta, 0) for mask in group)
            found += [objective.evaluate(Point(own, buffers), split, **options) for own in thetas]
    return found


def _require_masks(masks: Tensor, D: int) -> None:
    fits = masks.dtype == torch.bool and masks.shape[1:] == (D,) and len(masks) > 0
    require(fits, "masks", f"must be bool of shape (N, D={D})", (masks.dtype, tuple(masks.shape)))

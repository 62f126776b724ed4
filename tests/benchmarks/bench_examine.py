"""Examine a ResNet-18: CPU time and peak memory of one trial of every kind, and the plan with its refusals.

Run: ``nice -n 10 python tests/benchmarks/bench_examine.py [--device cuda] [--examples 8] [--batch 16] [--steps 3]
[--threads 1] [--limit 3600] [--only plan]``. 11,173,962 parameters, images of CIFAR-10's size drawn at random with
random labels: what is learned does not matter here. Each kind runs in a process of its own, so that its peak memory is
its own, and is ended at the limit of seconds.
"""

import argparse
import multiprocessing
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from workbench import measures, probes
from workbench.examine import Examination
from workbench.measures.asked import CHAINS, SCORES
from workbench.objective import Supervised
from workbench.recipes import Recipe

FEW = CHAINS | {"n_leapfrog": 1, "n_steps": 8, "n_burn": 0}  # as many chains as an examination's, hardly moved


class Block(nn.Module):
    """Two convolutions and what skips them."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(n_out) for _ in range(2))
        plain = stride == 1 and n_in == n_out
        wide = nn.Conv2d(n_in, n_out, 1, stride, bias=False)
        self.skip = nn.Identity() if plain else nn.Sequential(wide, nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norms[0](self.first(x)).relu()
        return (self.norms[1](self.second(h)) + self.skip(x)).relu()


def resnet18(n_classes: int = 10) -> nn.Sequential:
    """Return He et al.'s network of 18 layers in its form for small images."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    for n_in, n_out, stride in ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)):
        layers += [Block(n_in, n_out, stride), Block(n_out, n_out, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, n_classes))


def examination(options: argparse.Namespace, folder: str) -> Examination:
    """Return what is examined."""
    torch.manual_seed(0)
    x, y = torch.randn(256, 3, 32, 32), torch.randint(10, (256,))
    recipe = Recipe(options.steps, batch_size=options.batch)
    settings = {"recipe": recipe, "n_examples": options.examples, "out": folder, "device": options.device}
    return Examination(resnet18(), (x, y), (x[:100], y[:100]), **settings)


def kinds(found: Examination) -> dict[str, Callable[[], Any]]:
    """Return one trial of every kind."""
    at, recipe, sample = found.subject, found.recipe, found.subject.sample
    own, mask = {"split": at.split}, lambda: at.mask("magnitude", 0.1)
    pruned: dict[str, Callable[[], Any]] = {
        f"pruned by {score}": lambda score=score: measures.pruned(
            at.objective, at.point, score, [0.5, 0.1], scored_on=sample, **own
        )
        for score in SCORES
    }
    return {
        "nothing": lambda: None,
        "plan": lambda: print(found.plan().to_string(max_colwidth=130), flush=True),
        "trained, all": lambda: measures.trained(at.fresh(0), None, 0, recipe, **own),
        "trained, d = 1,000": lambda: measures.trained(at.fresh(0), 1000, 0, recipe, **own),
        "trained, d = 1,000 of a mask": lambda: measures.trained(at.fresh(0), 1000, 0, recipe, mask(), **own),
        **pruned,
        "retrained, with walks": lambda: measures.retrained(at.again(), mask(), 0, recipe, measured_on=sample, **own),
        "saved": lambda: measures.saved(at.objective, at.point, mask(), n_repeats=2, batch_size=16),
        "curvature": lambda: measures.curvature(sample, at.point),
        "curvature, d = 100": lambda: measures.curvature(sample, at.point, 100),
        "spectrum": lambda: measures.spectrum(sample, at.point),
        "plane of 7 x 7": lambda: measures.surface(sample, at.point, n=7),
        "between two seeds": lambda: measures.apart([at.fresh(0), at.fresh(1)], [0, 1], recipe, sample, None),
        "one Hessian product": lambda: product(sample, at.point.theta),
        "coefficient, 108 gradients of 67,512": lambda: measures.coefficient(sample, at.point, None, **FEW),
        "coefficient, d = 100, likewise": lambda: measures.coefficient(sample, at.point, 100, **FEW),
    }


def product(sample: Supervised, theta: Tensor) -> None:
    """Multiply the Hessian by a vector."""
    with probes.Landscape(sample, theta).products() as of:
        of(theta)


def one(options: argparse.Namespace, folder: str, name: str, told: Any) -> None:
    """Run one kind and tell its seconds, peak memory in GiB and what went wrong."""
    torch.set_num_threads(options.threads)
    found, wrong = examination(options, folder), ""
    started, wall = time.process_time(), time.perf_counter()
    try:
        kinds(found)[name]()
    except Exception as error:
        wrong = f"{type(error).__name__}: {str(error)[:90]}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if options.device == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**30
    told.put((time.process_time() - started, time.perf_counter() - wall, peak, wrong))


def main() -> None:
    """Print the plan, then a line a kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("examples", 8), ("batch", 16), ("steps", 3), ("threads", 1), ("limit", 3600)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {platform.machine()}, {options.device}, {options.threads} threads")
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        found = examination(options, folder)
        print(f"D = {found.subject.objective.D:,}, chunks of {found.subject.objective.chunk_size} examples")
        names = [name for name in kinds(found) if options.only in name]
        del found
        for name in names:
            told = context.Queue()
            process = context.Process(target=one, args=(options, folder, name, told))
            process.start()
            process.join(options.limit)
            late = process.is_alive()
            process.kill()
            ended = (0, 0, 0, f"not done in {options.limit} s" if late else "killed")
            cpu, wall, peak, wrong = ended if late or process.exitcode else told.get(timeout=5)
            print(f"{name:>36} {cpu:9.1f} s CPU {wall:9.1f} s {peak:6.1f} GiB  {wrong}", flush=True)


if __name__ == "__main__":
    main()

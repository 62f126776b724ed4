"""Cost of per-example norms, tangent kernel and learning coefficient, as ratios. Run on request:
``python -m tests.benchmarks.bench_degeneracy``.

Single-thread CPU time, medians. Every round runs every arm, so that drift of the machine hits all alike. With
``--peer`` the script runs under an interpreter that has devinterp==1.3.2, and prints its CPU time a chain and step on
the same model.
"""

import argparse
import platform
import time
from collections.abc import Callable

import torch
from torch import nn

from tests.benchmarks.timing import interleaved, show


def reduced_rank() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """Return 10-8-10 at a true parameter of rank 2, and 1,000 examples."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(1000, 10, generator=g)
    net = nn.Sequential(nn.Linear(10, 8, bias=False), nn.Linear(8, 10, bias=False))
    with torch.no_grad():
        for p, scale in zip(net.parameters(), (10**-0.5, 2**-0.5), strict=True):
            p.copy_(torch.randn(p.shape, generator=g) * scale)
        net[0].weight[2:], net[1].weight[:, 2:] = 0, 0
        return net, x, net(x)


def measure(rounds: int) -> None:
    """Compare with a full gradient, and a chain step with a gradient of one chain."""
    from workbench.models import lenet, mlp
    from workbench.objective import Supervised
    from workbench.probes import learning_coefficient, per_example, tangent_kernel

    for name, model, shape in (
        ("MLP 784-200-200-10", mlp([784, 200, 200, 10]), (784,)),
        ("LeNet", lenet(), (1, 28, 28)),
    ):
        objective = Supervised(model, (torch.randn(2000, *shape), torch.arange(2000) % 10))
        small, theta = objective.sample(100), objective.theta_0
        print(f"\n{name}, D = {objective.D:,}: per-example norms, n = 2,000, over a full gradient")
        arms: dict[str, Callable[[], object]] = {
            "gradient": lambda o=objective, t=theta: o.gradient(t),
            "norms": lambda o=objective, t=theta: per_example(o, t, coherence=False),
            "norms and coherence": lambda o=objective, t=theta: per_example(o, t),
        }
        show(interleaved(arms, rounds), "gradient", {"norms": 1})
        print("tangent kernel, n = 100, C = 10, over a gradient of these")
        arms = {
            "gradient": lambda o=small, t=theta: o.gradient(t),
            "kernel": lambda o=small, t=theta: tangent_kernel(o, t),
        }
        show(interleaved(arms, rounds), "gradient", {"kernel": 20})
    net, x, y = reduced_rank()
    objective = Supervised(net, (x, y), loss="squared_error")

    def chains() -> object:
        return learning_coefficient(objective, objective.theta_0, n_chains=16, n_leapfrog=10, n_steps=20, n_burn=0)

    chains()
    start = time.process_time()
    cost = chains().n_gradients
    print(
        f"\nreduced rank 10-8-10, n = 1,000: {1e6 * (time.process_time() - start) / cost:.0f} us a chain and gradient"
    )


def measure_peer(n_steps: int = 200) -> None:
    """Print the peer's cost a chain and step, batches of all 1,000 examples."""
    from importlib.metadata import version

    from devinterp.optim import SGLD
    from devinterp.slt.sampler import LLCEstimator, sample
    from torch.utils.data import DataLoader, TensorDataset

    net, x, y = reduced_rank()
    loader = DataLoader(TensorDataset(x, y), batch_size=1000, shuffle=True)
    options = {"lr": 1e-4, "localization": 1.0, "nbeta": 145.0}
    evaluate = lambda model, batch: ((model(batch[0]) - batch[1]) ** 2).sum(1).mean()  # noqa: E731
    estimator = LLCEstimator(num_chains=1, num_draws=n_steps, init_loss=torch.tensor(0.0), nbeta=145.0)
    start = time.process_time()
    shared = {"sampling_method": SGLD, "optimizer_kwargs": options, "num_chains": 1, "num_draws": n_steps}
    sample(net, loader, [estimator], evaluate, init_loss=0.0, seed=0, verbose=False, **shared)
    print(f"devinterp {version('devinterp')}: {1e6 * (time.process_time() - start) / n_steps:.0f} us a chain and step")


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--peer", action="store_true", help="measure devinterp, which must be installed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{platform.machine()}, torch {torch.__version__}, 1 thread; median [quartiles] of {args.rounds} rounds")
    measure_peer() if args.peer else measure(args.rounds)


if __name__ == "__main__":
    main()

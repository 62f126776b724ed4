"""Train the network on drawn curves: ``python curve_training.py`` writes its weights anew beside this file."""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from curve_network import WEIGHTS, CurveNetwork, log_density, tokens
from curve_prior import draw

from workbench.seeds import generator

STEPS, BATCH, ASKED, RATE, SEED = 2900, 256, 6, 2e-3, 0


def train(
    steps: int = STEPS, seed: int = SEED, watch: Callable[[int, float], None] = lambda step, loss: None
) -> CurveNetwork:
    """Minimise the mean of -log density of drawn futures; one batch of new curves a step, AdamW, a cosine schedule.

    Args:
        steps: How many batches.
        seed: Of the weights and the curves.
        watch: Called with step and loss.

    Returns:
        The network; on one thread the same bits every time on one kind of machine.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    network = CurveNetwork()
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-3, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.05)
    for step in range(steps):
        drawn = draw(generator(seed, "curves", step), BATCH, ASKED)
        shown = tokens(drawn.u, drawn.y, drawn.seen)
        future = torch.from_numpy((drawn.future - shown.centre) / shown.scale).float()
        parts = network(shown.points, shown.used, torch.from_numpy(drawn.ahead).float())
        loss = -log_density(parts, future).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        watch(step, loss.item())
    return network.eval()


def save(network: CurveNetwork, path: Path = WEIGHTS) -> None:
    """Write the weights in half precision."""
    from safetensors.torch import save_file

    half = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    save_file(half, path, metadata={"format": "pt"})


def show(step: int, loss: float) -> None:
    """Print where the training is."""
    if step % 100 == 0:
        print(f"{step:5d}  {loss:.4f}  {time.process_time():.0f} s", flush=True)


if __name__ == "__main__":
    save(train(watch=show))

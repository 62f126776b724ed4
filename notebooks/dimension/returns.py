"""Return of a small policy on gymnasium's CartPole-v1, as a function of a flat parameter vector.

Many policies and many episodes advance together in one vectorised environment. Every (policy, episode) pair is one row
with its own start, and no row's arithmetic depends on which other rows are there, so the return of a pair is the same
whatever it is evaluated with.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from workbench.errors import is_count, require, require_choice
from workbench.seeds import generator as stream


class CartPole:
    """Undiscounted return of a fully connected ReLU policy on CartPole-v1.

    The policy maps the float32 observation to two logits and takes the larger, the first when they are equal. The
    return is the number of steps the pole stands, at most 500. theta holds weight and bias of each layer in turn, as a
    torch network's parameters would.

    Args:
        hidden: Widths of the hidden layers; ``(20, 20)`` has the 562 parameters of Li et al.'s pendulum network.
        seed: Initialisation; ``theta_0`` has He-normal weights and zero biases.
        dtype: ``torch.float32`` or ``torch.float64``, of the policy; the environment's state is float64.

    Raises:
        InputError: If a width is not a positive integer, the seed is negative or the dtype is another.

    References:
        Barto, Sutton and Anderson (1983), the task; Li et al. (2018), arXiv 1804.08838, section 3.3, the use here.

    Example:
        >>> CartPole(hidden=(20, 20)).D
        562
    """

    max_steps: ClassVar[int] = 500
    solved_at: ClassVar[float] = 475.0

    def __init__(self, hidden: Sequence[int] = (20, 20), *, seed: int = 0, dtype: torch.dtype = torch.float32) -> None:
        for width in hidden:
            require(is_count(width, 1), "hidden", "must hold positive integers", width)
        require_choice("dtype", str(dtype), ("torch.float32", "torch.float64"))
        self.widths = (4, *hidden, 2)
        parts = []
        for layer, (n_in, n_out) in enumerate(pairwise(self.widths)):
            weight = stream(seed, "cartpole", "initialisation", f"{layer}.weight").standard_normal((n_out, n_in))
            parts += [weight.ravel() * np.sqrt(2.0 / n_in), np.zeros(n_out)]
        self.theta_0: Tensor = torch.from_numpy(np.concatenate(parts)).to(dtype)
        self.D = len(self.theta_0)

    def starts(self, n_policies: int, n_episodes: int, generator: np.random.Generator) -> np.ndarray:
        """Draw initial states, uniform in [-0.05, 0.05] as ``CartPole-v1`` draws them.

        Args:
            n_policies: At least 1; one call for K policies draws what K calls for one would.
            n_episodes: Episodes of each policy; at least 1.
            generator: Randomness.

        Returns:
            Position, velocity, angle and angular velocity, shape ``(n_policies, n_episodes, 4)``.
        """
        for name, count in (("n_policies", n_policies), ("n_episodes", n_episodes)):
            require(is_count(count, 1), name, "must be at least 1", count)
        return generator.uniform(-0.05, 0.05, size=(n_policies, n_episodes, 4))

    def returns(self, thetas: Tensor | np.ndarray, n_episodes: int, generator: np.random.Generator) -> np.ndarray:
        """Evaluate policies, each on fresh episodes of its own: `returns_from` those `starts`."""
        return self.returns_from(thetas, self.starts(max(1, len(thetas)), n_episodes, generator))

    def returns_from(self, thetas: Tensor | np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Evaluate policies from given initial states.

        Args:
            thetas: Policies, shape ``(K, D)``.
            starts: Initial states, shape ``(K, n_episodes, 4)``, or ``(1, n_episodes, 4)`` to give every policy the
                same ones (common random numbers: the ranking of policies is then less noisy).

        Returns:
            Steps survived, shape ``(K, n_episodes)``, integers in 1..500.

        Raises:
            InputError: If a shape is wrong or ``thetas`` holds nan or inf.
        """
        flat = np.asarray(thetas, dtype=self.theta_0.numpy().dtype)
        require(len(flat) > 0 and flat.shape[1:] == (self.D,), "thetas", f"must be (K, D={self.D})", flat.shape)
        require(bool(np.isfinite(flat).all()), "thetas", "must be finite", "nan or inf")
        n, shape = len(flat), np.shape(starts)
        fits = len(shape) == 3 and shape[0] in {1, n} and shape[1] >= 1 and shape[2] == 4
        require(fits, "starts", f"must have shape (K={n} or 1, n_episodes, 4)", shape)
        state = np.broadcast_to(starts, (n, shape[1], 4)).reshape(-1, 4)
        layers = [np.repeat(layer, shape[1], axis=0) for layer in self._layers(flat)]
        return self._rollout(layers, state).reshape(n, shape[1])

    def _layers(self, flat: np.ndarray) -> list[np.ndarray]:
        """Cut flat policies into one (K, n_in + 1, n_out) array per layer, the bias as its last row."""
        layers, rest = [], flat
        for n_in, n_out in pairwise(self.widths):
            weight, bias, rest = np.split(rest, [n_in * n_out, (n_in + 1) * n_out], axis=1)
            weight = weight.reshape(-1, n_out, n_in).transpose(0, 2, 1)
            layers.append(np.concatenate([weight, bias[:, None]], axis=1))
        return layers

    def _rollout(self, layers: list[np.ndarray], state: np.ndarray) -> np.ndarray:
        """Step all rows until each has fallen or timed out; finished rows leave the environment."""
        n = len(state)
        env: Any = CartPoleVectorEnv(n, max_episode_steps=self.max_steps)  # gymnasium types its state None
        env.reset(seed=0)
        env.state = state.T.copy()
        observation = state.astype(np.float32)
        total = np.zeros(n, dtype=np.int64)
        rows, alive = np.arange(n), np.ones(n, dtype=bool)
        while len(rows):
            observation, _, terminated, truncated, _ = env.step(_act(layers, observation))
            total[rows] += alive
            # gymnasium resets a finished row at its next step and would go on counting: alive masks that.
            alive &= ~(terminated | truncated)
            if 4 * alive.sum() <= 3 * len(rows):  # copying is worth it once a quarter has finished
                layers, observation, rows = [layer[alive] for layer in layers], observation[alive], rows[alive]
                env.state, env.steps, env.prev_done = env.state[:, alive], env.steps[alive], env.prev_done[alive]
                env.num_envs, alive = len(rows), alive[alive]
                env.action_space = batch_space(env.single_action_space, max(1, len(rows)))
        return total


def _act(layers: list[np.ndarray], observation: np.ndarray) -> np.ndarray:
    """Choose every row's action; one small product per row, so that no row depends on the number of rows."""
    hidden = observation.astype(layers[0].dtype)[:, None]
    for i, layer in enumerate(layers):
        hidden = np.matmul(hidden if i == 0 else np.maximum(hidden, 0), layer[:, :-1]) + layer[:, -1:]
    return (hidden[:, 0, 1] > hidden[:, 0, 0]).astype(np.int64)

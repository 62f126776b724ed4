"""Return of a small policy on gymnasium's CartPole-v1, as a function of a flat parameter vector.

Many policies and many episodes advance together in one vectorised environment. Every (policy, episode) pair is one row
with its own start, and no row's arithmetic depends on which other rows are there, so the return of a pair is the same
whatever it is evaluated with.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import numpy as np
import torch
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from workbench.errors import require, require_choice
from workbench.seeds import generator as stream


class CartPole:
    """Undiscounted return of a fully connected ReLU policy on CartPole-v1.

    The policy maps the float32 observation to two logits and takes the larger, the first when they are equal. The
    return is the number of steps the pole stands, at most 500.

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
        """Lay out the network and draw ``theta_0``; the arguments are the class's."""
        for width in hidden:
            is_integer = isinstance(width, int) and not isinstance(width, bool)
            require(is_integer and width > 0, "hidden", "must hold positive integers", width)
        require_choice("dtype", str(dtype), ("torch.float32", "torch.float64"))
        widths = (4, *hidden, 2)
        self.shapes: dict[str, tuple[int, ...]] = {}
        for layer, (n_in, n_out) in enumerate(pairwise(widths)):
            self.shapes |= {f"{layer}.weight": (n_out, n_in), f"{layer}.bias": (n_out,)}
        self.D: int = sum(int(np.prod(shape)) for shape in self.shapes.values())
        self.theta_0: Tensor = torch.cat([_initial(name, shape, seed) for name, shape in self.shapes.items()]).to(dtype)

    def starts(self, n_policies: int, n_episodes: int, generator: np.random.Generator) -> np.ndarray:
        """Draw initial states, policy by policy and within it episode by episode.

        Args:
            n_policies: Rows of the result; at least 1.
            n_episodes: Episodes of each policy; at least 1.
            generator: Randomness; consumed in order, so one call for K policies draws what K calls for one would.

        Returns:
            Position, velocity, angle and angular velocity, shape ``(n_policies, n_episodes, 4)``, uniform in
            [-0.05, 0.05] as ``CartPole-v1`` draws them.

        Raises:
            InputError: If a count is below 1.
        """
        require(n_policies >= 1, "n_policies", "must be at least 1", n_policies)
        require(n_episodes >= 1, "n_episodes", "must be at least 1", n_episodes)
        return generator.uniform(-0.05, 0.05, size=(n_policies, n_episodes, 4))

    def returns(self, thetas: Tensor | np.ndarray, n_episodes: int, generator: np.random.Generator) -> np.ndarray:
        """Evaluate policies on fresh episodes, each from its own start.

        Args:
            thetas: Policies, shape ``(K, D)``.
            n_episodes: Episodes of each policy; at least 1.
            generator: Randomness of the starts; nothing else is random.

        Returns:
            Steps survived, shape ``(K, n_episodes)``, integers in 1..500.

        Raises:
            InputError: If ``thetas`` has another shape, holds nan or inf, or a count is below 1.
        """
        self._check(thetas)
        return self.returns_from(thetas, self.starts(len(thetas), n_episodes, generator))

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
        self._check(thetas)
        n, shape = len(thetas), np.shape(starts)
        fits = len(shape) == 3 and shape[0] in {1, n} and shape[1] >= 1 and shape[2] == 4
        require(fits, "starts", f"must have shape (K={n} or 1, n_episodes, 4)", shape)
        n_episodes = shape[1]
        state = np.broadcast_to(starts, (n, n_episodes, 4)).reshape(-1, 4)
        layers = [np.repeat(layer, n_episodes, axis=0) for layer in self._layers(thetas)]
        return self._rollout(layers, state).reshape(n, n_episodes)

    def _check(self, thetas: Tensor | np.ndarray) -> None:
        """Refuse policies of another shape and policies that are not numbers."""
        shape = tuple(np.shape(thetas))
        require(len(shape) == 2 and shape[0] >= 1 and shape[1] == self.D, "thetas", f"must be (K, D={self.D})", shape)
        require(bool(np.isfinite(np.asarray(thetas)).all()), "thetas", "must be finite", "nan or inf")

    def _layers(self, thetas: Tensor | np.ndarray) -> list[np.ndarray]:
        """Cut flat policies into one (K, n_in + 1, n_out) array per layer, the bias as its last row."""
        flat = np.asarray(thetas, dtype=self.theta_0.numpy().dtype)
        layers, offset = [], 0
        for name, (n_out, *n_in) in self.shapes.items():
            if name.endswith("weight"):
                size = n_out * (n_in[0] + 1)
                weight, bias = np.split(flat[:, offset : offset + size], [n_out * n_in[0]], axis=1)
                weight = weight.reshape(-1, n_out, n_in[0]).transpose(0, 2, 1)
                layers.append(np.concatenate([weight, bias[:, None]], axis=1))
                offset += size
        return layers

    def _rollout(self, layers: list[np.ndarray], state: np.ndarray) -> np.ndarray:
        """Step all rows until each has fallen or timed out; finished rows leave the environment."""
        n = len(state)
        env = CartPoleVectorEnv(n, max_episode_steps=self.max_steps)
        env.reset(seed=0)
        env.state = state.T.copy()  # type: ignore[assignment]  # gymnasium types it None
        observation = state.astype(np.float32)
        total = np.zeros(n, dtype=np.int64)
        rows, alive = np.arange(n), np.ones(n, dtype=bool)
        while len(rows):
            observation, _, terminated, truncated, _ = env.step(_act(layers, observation))
            total[rows] += alive
            # gymnasium resets a finished row at its next step and would go on counting: alive masks that.
            alive &= ~(terminated | truncated)
            if 4 * alive.sum() <= 3 * len(rows):  # copying is worth it once a quarter has finished
                layers, observation = [layer[alive] for layer in layers], observation[alive]
                rows = rows[alive]
                _keep(env, alive)
                alive = np.ones(len(rows), dtype=bool)
        return total


def _initial(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """Draw one parameter: He-normal if it is a weight, zero if it is a bias."""
    if name.endswith("bias"):
        return torch.zeros(shape, dtype=torch.float64)
    draw = stream(seed, "cartpole", "initialisation", name).standard_normal(shape)
    return torch.from_numpy(draw * np.sqrt(2.0 / shape[1])).flatten()


def _act(layers: list[np.ndarray], observation: np.ndarray) -> np.ndarray:
    """Choose every row's action; one small product per row, so that no row depends on the number of rows."""
    hidden = observation.astype(layers[0].dtype)[:, None]
    for i, layer in enumerate(layers):
        hidden = np.matmul(hidden if i == 0 else np.maximum(hidden, 0), layer[:, :-1]) + layer[:, -1:]
    return (hidden[:, 0, 1] > hidden[:, 0, 0]).astype(np.int64)


def _keep(env: CartPoleVectorEnv, kept: np.ndarray) -> None:
    """Remove rows from a running environment."""
    n = int(kept.sum())
    env.num_envs, env.state = n, env.state[:, kept]  # type: ignore[index]  # gymnasium types it None
    env.steps, env.prev_done = env.steps[kept], env.prev_done[kept]
    env.action_space = batch_space(env.single_action_space, max(n, 1))

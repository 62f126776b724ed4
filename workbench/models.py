"""The small networks studied, initialised from a seed alone: He-normal weights, zero biases, unit norms."""

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from workbench.errors import require
from workbench.seeds import generator


def initialise(model: nn.Module, seed: int) -> nn.Module:
    """Set a model's trainable parameters from a seed, each tensor from a stream of its own name.

    Weights are He-normal, N(0, 2 / fan_in); embeddings N(0, 0.02^2); biases 0; norms 1 and 0.

    Args:
        model: Any module made of linear, convolution, embedding and normalisation layers.
        seed: Non-negative integer.

    Returns:
        The same module.

    References:
        He et al. 2015, "Delving deep into rectifiers", eq. 10, https://arxiv.org/abs/1502.01852.
    """
    for name, module in model.named_modules():
        for key, parameter in ((key, p) for key, p in module.named_parameters(recurse=False) if p.requires_grad):
            if isinstance(module, nn.Embedding):
                scale = 0.02
            elif parameter.ndim >= 2:
                scale = math.sqrt(2 / parameter[0].numel())
            else:
                nn.init.constant_(parameter, float(key == "weight"))
                continue
            draws = generator(seed, "initial", name, key).standard_normal(tuple(parameter.shape))
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(draws * scale))
    return model


def mlp(widths: Sequence[int], seed: int = 0) -> nn.Sequential:
    """Return a ReLU network of fully connected layers on flattened inputs.

    Args:
        widths: Inputs, hidden widths, outputs: at least two positive integers.
        seed: Initialisation.

    Returns:
        A network with ``sum(a * b + b)`` parameters over consecutive widths.

    Raises:
        InputError: If ``widths`` is too short or not positive.

    Example:
        >>> sum(p.numel() for p in mlp([784, 200, 200, 10]).parameters())
        199210
    """
    require(len(widths) >= 2 and min(widths) >= 1, "widths", "must be at least two positive integers", list(widths))
    layers: list[nn.Module] = [nn.Flatten()]
    for i, (fan_in, fan_out) in enumerate(pairwise(widths)):
        layers += [nn.ReLU()] if i else []
        layers += [nn.Linear(fan_in, fan_out)]
    return initialise(nn.Sequential(*layers), seed)  # type: ignore[return-value]


def lenet(side: int = 28, n_classes: int = 10, n_channels: int = 1, seed: int = 0) -> nn.Sequential:
    """Return LeNet-5 with ReLU and max-pooling: 6 and 16 maps, then 120 and 84 units.

    Inputs of 28 or 32 pixels take 5 x 5 kernels without padding (D = 44,426 at 28); 8 x 8 digits take 3 x 3 kernels
    with padding 1, because two unpadded 5 x 5 layers need at least 16 pixels.

    Args:
        side: Height and width of the input in pixels; at least 4.
        n_classes: Outputs.
        n_channels: Input channels.
        seed: Initialisation.

    Returns:
        A network for inputs of shape ``(n, n_channels, side, side)``.

    Raises:
        InputError: If ``side`` is below 4.

    References:
        LeCun et al. 1998, section II.B; sizes as in Li et al. 2018 (44,426 parameters on MNIST).
    """
    require(side >= 4, "side", "must be at least 4 pixels", side)
    kernel, padding = (5, 0) if side >= 16 else (3, 1)
    left = side
    for _ in range(2):
        left = (left + 2 * padding - kernel + 1) // 2
    features = [nn.Conv2d(n_channels, 6, kernel, padding=padding), nn.ReLU(), nn.MaxPool2d(2)]
    features += [nn.Conv2d(6, 16, kernel, padding=padding), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    classes = [nn.Linear(16 * left * left, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, n_classes)]
    return initialise(nn.Sequential(*features, *classes), seed)  # type: ignore[return-value]


def small_cnn(n_classes: int = 10, n_channels: int = 1, width: int = 16, seed: int = 0) -> nn.Sequential:
    """Return a three-layer convolutional network with BatchNorm and global average pooling.

    Args:
        n_classes: Outputs.
        n_channels: Input channels.
        width: Maps of the first layer; the next have twice and four times as many.
        seed: Initialisation.

    Returns:
        A network for images of at least 4 x 4 pixels.
    """
    layers: list[nn.Module] = []
    for i, (fan_in, fan_out) in enumerate([(n_channels, width), (width, 2 * width), (2 * width, 4 * width)]):
        layers += [nn.Conv2d(fan_in, fan_out, 3, padding=1, bias=False), nn.BatchNorm2d(fan_out), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if i < 2 else [nn.AdaptiveAvgPool2d(1)]
    layers += [nn.Flatten(), nn.Linear(4 * width, n_classes)]
    return initialise(nn.Sequential(*layers), seed)  # type: ignore[return-value]


class CharTransformer(nn.Module):
    """A decoder-only transformer over characters with tied input and output embeddings.

    Pre-norm blocks of causal attention and a four-fold ReLU layer. The defaults have 1,258,080 parameters.

    Args:
        vocabulary: Number of distinct characters.
        context: Longest sequence.
        width: Model width; a multiple of ``n_heads``.
        n_layers: Blocks.
        n_heads: Attention heads.
        seed: Initialisation.

    Raises:
        InputError: If ``width`` is not a multiple of ``n_heads``.
    """

    def __init__(
        self,
        vocabulary: int = 65,
        context: int = 64,
        width: int = 160,
        n_layers: int = 4,
        n_heads: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__()
        require(width % n_heads == 0, "width", f"must be a multiple of n_heads={n_heads}", width)
        self.token = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(context, width)
        block = partial(nn.TransformerEncoderLayer, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.ModuleList(block(width, n_heads, 4 * width) for _ in range(n_layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        initialise(self, seed)
        self.head.weight = self.token.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens, shape ``(n, t)``, to next-character logits, shape ``(n, t, vocabulary)``."""
        h = self.token(tokens) + self.position.weight[: tokens.shape[1]]
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1], h.device, h.dtype)
        for block in self.blocks:
            h = block(h, src_mask=mask, is_causal=True)
        return self.head(self.norm(h))

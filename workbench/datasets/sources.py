"""Published image files: where they come from, what they must hold, where they may lie.

Every digest is of the *decompressed* content, so a mirror may compress anew and a truncated or altered file is still
refused. Where a digest could not be computed at first hand, its comment says who publishes it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One array of bytes inside a file: its name there, its length and its SHA-256 once decompressed."""

    name: str
    size: int
    sha256: str

    def __str__(self) -> str:
        return f"{self.name} ({self.size:,} bytes, SHA-256 {self.sha256})"


@dataclass(frozen=True)
class Source:
    """One file (.gz, .tar.gz or .npz), the parts that are read from it, and its mirrors, best first."""

    file: str
    parts: tuple[Part, ...]
    urls: tuple[str, ...] = ()


def _idx(mirrors: tuple[str, ...], *digests: str) -> tuple[Source, ...]:
    """Describe the four IDX files of a set in MNIST's format: a header of 16 or 8 bytes, then one byte a value."""
    sizes = (16 + 60_000 * 784, 8 + 60_000, 16 + 10_000 * 784, 8 + 10_000)
    kinds = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return tuple(
        Source(f"{name}.gz", (Part(name, size, digest),), tuple(f"{mirror}{name}.gz" for mirror in mirrors))
        for name, size, digest in zip((f"{kind}-ubyte" for kind in kinds), sizes, digests, strict=True)
    )


# Digests computed on files whose .gz has the published MD5 (f68b3c2d..., d53e105e..., 9fb629c4..., ec29112d...).
# Mirrors: those of torchvision and of TensorFlow Datasets. The original site often refuses, so it comes last.
MNIST = _idx(
    (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    ),
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
# The labels' digests were computed on files with the published MD5 (25c81989..., bb300cfd...). The images' are those
# that independent loaders publish for the decompressed files behind the .gz of MD5 8d4fb7e6... and bef4ecab....
FASHION_MNIST = _idx(
    (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
)
# The *binary* archive, never the pickled one; its published MD5 is c32a1d4ab5d03f1284b67883e8d87530. The members'
# digests are those of torchvision-ruby, which names the archive's SHA-256 c4a38c50... as TensorFlow Datasets does.
CIFAR10 = Source(
    "cifar-10-binary.tar.gz",
    (
        Part("data_batch_1.bin", 30_730_000, "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
        Part("data_batch_2.bin", 30_730_000, "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
        Part("data_batch_3.bin", 30_730_000, "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
        Part("data_batch_4.bin", 30_730_000, "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
        Part("data_batch_5.bin", 30_730_000, "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
        Part("test_batch.bin", 30_730_000, "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"),
    ),
    (
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "https://cave.cs.toronto.edu/kriz/cifar-10-binary.tar.gz",
        "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/cifar-10-binary.tar.gz",
    ),
)
# Two partial sets that a data folder may hold instead; they have no mirror.
FASHION_MNIST_FIRST = Source(
    "fashion_mnist_first3615.npz",
    (
        Part("x", 3615 * 784, "a946fc9312c9880446757a540beb4503057b26dcbc5ab1c15a7e629ad93cb670"),
        Part("y", 3615, "8bc55345e95162a58408bf9087aca81a10ee67d50b8b718a4e4e25a700d1214d"),
    ),
)
CIFAR10_SUBSET = Source(
    "cifar10_subset.npz",
    (
        Part("x_train", 5000 * 3072, "8408cb1d487a81dc74bed9bf922c2fd301fe2b1423ee16016de79a0f4ea9cff1"),
        Part("y_train", 5000, "82b397643bd8851eecd4bf04f74438bf4aeeb7d1f9074791252a04fd9277c0f3"),
        Part("x_holdout", 1000 * 3072, "1d90f9783b1503f8fe91ce0e985a9af5bd7474024be2c613d72ea9e33c6a2849"),
        Part("y_holdout", 1000, "f3be2d53989b1cb1f4a240156c7c46a671e781b4ed9d08b11e2d990d6fc45593"),
        Part("x_test", 1000 * 3072, "da362006b99671213d1a5d856cab2bedf64d40bad4501630ee60f4ceb2d3ec7f"),
        Part("y_test", 1000, "636a087e604331a0b9dafc94b6e9ade0c9cec72c4400d12473ccdb3e264474c1"),
    ),
)
# Where a set may lie: folder and files. The first entry is the whole set, and the one that can be downloaded.
PLACES: dict[str, tuple[tuple[str, tuple[Source, ...]], ...]] = {
    "mnist": (("mnist", MNIST),),
    "fashion_mnist": (("fashion_mnist", FASHION_MNIST), ("fashion_mnist_partial", (FASHION_MNIST_FIRST,))),
    "cifar10": (("cifar10", (CIFAR10,)), ("cifar10", (CIFAR10_SUBSET,))),
}

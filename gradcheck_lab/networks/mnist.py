"""MNIST as scikit-learn fetches it from openml.org, kept on disk; without a network, the digits that come with scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.networks import data

NAME = "mnist_784"
TEST = 10_000


@dataclass(frozen=True, slots=True)
class Images:
    """Pixels in [0, 1] as rows, float64 (n, pixels), and the digit of each, int64 (n,); `source` says where they are from."""

    train_pixels: torch.Tensor
    train_digits: torch.Tensor
    test_pixels: torch.Tensor
    test_digits: torch.Tensor
    source: str

    def first(self, count: int) -> Images:
        """The same with at most `count` training images."""
        kept = min(count, len(self.train_pixels))
        source = self.source.replace(f"{len(self.train_pixels)} training", f"{kept} training")
        return replace(self, train_pixels=self.train_pixels[:kept], train_digits=self.train_digits[:kept], source=source)


def load_images(fetch: Callable[..., Any] | None = None) -> Images:
    """MNIST, its last 10,000 images for the test as its authors split it; where it cannot be fetched, the digits data.

    `fetch` is `sklearn.datasets.fetch_openml`, which keeps what it downloads, or a function like it. Raises `InvalidArgument`
    when scikit-learn is not installed, and for data that are not rows of 0 to 255 with a digit each.
    """
    fetch = fetch or _fetch_openml()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings of the connection; `source` says the outcome
            # "auto" reads with pandas, ten times as fast, where that is installed
            parser = "auto" if find_spec("pandas") else "liac-arff"
            found = fetch(NAME, version=1, as_frame=False, parser=parser, n_retries=1)
    except OSError as error:  # among them every error of urllib
        return _digits(f"{type(error).__name__}: {getattr(error, 'reason', None) or error}")
    return split(found.data, found.target, test=TEST)


def _fetch_openml() -> Callable[..., Any]:
    try:
        from sklearn.datasets import fetch_openml
    except ImportError:
        raise InvalidArgument(
            "the images need scikit-learn, which is not installed; pip install 'gradcheck_lab[demo]'"
        ) from None
    return fetch_openml  # type: ignore[no-any-return]


def split(pixels: Any, digits: Any, *, test: int) -> Images:
    """Images as openml has them, (n, pixels) of 0 to 255 and (n,) digits as text, the last `test` of them for the test.

    >>> split([[0, 255], [255, 0], [0, 0]], ["7", "1", "0"], test=1).train_pixels
    tensor([[0., 1.],
            [1., 0.]], dtype=torch.float64)
    """
    x = torch.as_tensor(pixels, dtype=torch.float64)
    y = torch.tensor([int(digit) for digit in digits])
    if x.ndim != 2 or len(x) != len(y) or not 0 < test < len(x):
        raise InvalidArgument(
            f"{NAME} has pixels of shape {tuple(x.shape)} and {len(y)} digits, {test} of them for the test; "
            "clear scikit-learn's data folder and fetch it again"
        )
    x = x / 255
    return Images(x[:-test], y[:-test], x[-test:], y[-test:], f"MNIST, {len(x) - test} training and {test} test images")


def _digits(why: str) -> Images:
    found = data.load_raw()
    cut = data.TRAIN
    x = found[0] / 16
    return Images(
        x[:cut], found[1][:cut], x[cut:], found[1][cut:],
        f"MNIST could not be fetched ({why}): the digits of scikit-learn in its place, {cut} training and {len(x) - cut} test "
        "images",
    )  # fmt: skip

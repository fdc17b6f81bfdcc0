"""What models return is read where there is one way to read it; else the error says what came back."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from doubleback.errors import InputError
from doubleback.models.answers import code_of, image_of

MEAN, LOG_VAR = torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4)


class Named(NamedTuple):
    mu: Tensor
    logvar: Tensor


@dataclass
class Record:
    embedding: Tensor
    log_covariance: Tensor


GAUSSIANS: dict[str, Any] = {
    "pair": (MEAN, LOG_VAR),
    "list": [MEAN, LOG_VAR],
    "Normal": Normal(MEAN, (LOG_VAR / 2).exp()),
    "Independent": Independent(Normal(MEAN, (LOG_VAR / 2).exp()), 3),
    "dictionary": {"mean": MEAN, "log_var": LOG_VAR, "loss": torch.zeros(())},
    "named tuple": Named(MEAN, LOG_VAR),
    "dataclass": Record(MEAN, LOG_VAR),
    "standard deviation": {"mu": MEAN, "std": (LOG_VAR / 2).exp()},
    "variance": SimpleNamespace(loc=MEAN, var=LOG_VAR.exp()),
    "latent_dist": SimpleNamespace(latent_dist=SimpleNamespace(mean=MEAN, logvar=LOG_VAR)),
    "a tuple of one": ((MEAN, LOG_VAR),),
}


@pytest.mark.parametrize("returned", GAUSSIANS.values(), ids=GAUSSIANS)
def test_a_mean_and_a_spread(returned: Any) -> None:
    q = code_of(returned)
    assert torch.equal(q.mean, MEAN)
    torch.testing.assert_close(q.log_var, LOG_VAR)


@pytest.mark.parametrize(
    "returned",
    [MEAN, (MEAN,), {"z": MEAN}, SimpleNamespace(latents=MEAN), {"latent": MEAN, "loss": torch.zeros(())}],
)
def test_a_plain_code(returned: Any) -> None:
    q = code_of(returned)
    assert torch.equal(q.mean, MEAN)
    assert not q.log_var.any()


def test_what_a_pair_means_can_be_said() -> None:
    std = (LOG_VAR / 2).exp()
    with pytest.raises(InputError, match="pass spread='std'"):
        code_of((MEAN, std))
    torch.testing.assert_close(code_of((MEAN, std), "std").log_var, LOG_VAR)
    torch.testing.assert_close(code_of((MEAN, std.square()), "var").log_var, LOG_VAR)


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        ((MEAN, MEAN, LOG_VAR), r"a tuple \(float32 \(3, 2, 4, 4\), float32"),
        ({"a": MEAN, "b": LOG_VAR}, r"a dict \(a: float32"),
        ((MEAN, torch.zeros(3)), "ambiguous or unknown"),
        (None, "gave None"),
        (torch.zeros(3, 4, dtype=torch.long), "whole numbers have no gradient"),
        (torch.zeros(3), r"a code is \(B, ...\)"),
        ("code", "a str"),
    ],
)
def test_what_cannot_be_read_is_described(returned: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        code_of(returned)


def test_the_image_is_what_has_its_shape() -> None:
    x, other = torch.rand(3, 1, 8, 8), torch.rand(3, 5)
    for returned in (x, (x, other), {"x_hat": x, "z": other}, SimpleNamespace(sample=x), [{"deep": (other, x)}]):
        assert image_of(returned, x.shape) is x
    assert image_of({"x": other, "sample": x, "target": torch.rand(3, 1, 8, 8)}, x.shape) is x
    assert torch.equal(image_of(Normal(x, 1.0), x.shape), x)
    with pytest.raises(InputError, match="2 tensors of the images' shape"):
        image_of((x, x.clone()), x.shape)
    with pytest.raises(InputError, match="no tensor of the images' shape"):
        image_of(other, x.shape)
    with pytest.raises(InputError, match="must be of floats"):
        image_of((255 * x).byte(), x.shape)

"""Codes and reconstructions as distributions: q(z|x), p(x|z), and what training and attacks ask of them.

    q(z|x) = N(mean, diag exp(log_var)),    z = mean + exp(log_var / 2) * noise,    noise ~ N(0, I)
    KL(N(m, s^2) || N(0, I)) = 1/2 sum_d (m_d^2 + s_d^2 - log s_d^2 - 1)

Every record here is a pytree, so that `torch.func` and `torch.compile` pass it through.
Source: Kingma & Welling, "Auto-Encoding Variational Bayes", 2013, appendix B.
"""

import math
from dataclasses import dataclass, fields
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils import _pytree as pytree

Record = TypeVar("Record", bound=type)


def pytree_record(cls: Record) -> Record:
    """Register a dataclass as a pytree: its fields that are not None are its children (a class decorator)."""
    names = [field.name for field in fields(cls)]

    def flatten(record: Any) -> tuple[list[Any], tuple[str, ...]]:
        there = tuple(name for name in names if getattr(record, name) is not None)
        return [getattr(record, name) for name in there], there

    def unflatten(children: Any, there: tuple[str, ...]) -> Any:
        return cls(**dict(zip(there, children, strict=True)))

    pytree.register_pytree_node(cls, flatten, unflatten, serialized_type_name=cls.__qualname__)
    return cls


def _rows(x: Tensor) -> Tensor:
    """Sum over everything but the first dimension: (B, ...) -> (B,)."""
    return x.flatten(1).sum(1)


@pytree_record
@dataclass(frozen=True)
class DiagonalGaussian:
    """N(mean, diag exp(log_var)) for each row of a batch.

    Attributes:
        mean: (B, ...), a code of any shape.
        log_var: (B, ...), the natural logarithm of the variance.
    """

    mean: Float[Tensor, "B ..."]
    log_var: Float[Tensor, "B ..."]

    def at(self, rows: Int[Tensor, "n"]) -> "DiagonalGaussian":
        """The distributions of these rows."""
        return DiagonalGaussian(self.mean.index_select(0, rows), self.log_var.index_select(0, rows))

    def sample(self, noise: Float[Tensor, "B ..."]) -> Float[Tensor, "B ..."]:
        """z = mean + sigma * noise (the reparameterisation), for noise drawn from N(0, I) by the caller."""
        return self.mean + torch.exp(0.5 * self.log_var) * noise

    def kl_to_standard(self) -> Float[Tensor, "B"]:
        """KL(self || N(0, I)) in nats, summed over the latent dimensions."""
        return 0.5 * _rows(self.mean.square() + (torch.expm1(self.log_var) - self.log_var))

    def kl(self, other: "DiagonalGaussian") -> Float[Tensor, "B"]:
        """KL(self || other) in nats, summed over the latent dimensions.

        >>> import torch
        >>> q = DiagonalGaussian(torch.tensor([[1.0, 2.0]]), torch.zeros(1, 2))
        >>> p = DiagonalGaussian(torch.zeros(1, 2), torch.zeros(1, 2))
        >>> q.kl(p)
        tensor([2.5000])
        """
        log_ratio = self.log_var - other.log_var
        distance = (self.mean - other.mean).square() * torch.exp(-other.log_var)
        return 0.5 * _rows(distance + (torch.expm1(log_ratio) - log_ratio))  # 1 + d - 1 would round a small d away


@runtime_checkable
class Likelihood(Protocol):
    """p(x|z) over images of shape (B, C, H, W)."""

    @property
    def mean(self) -> Tensor:
        """The reconstruction, (B, C, H, W) in [0, 1]."""

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x|z) in nats, summed over the pixels: (B,)."""


@pytree_record
@dataclass(frozen=True)
class Bernoulli:
    """Independent Bernoulli pixels; x in [0, 1] may be grey (the cross-entropy of Kingma & Welling).

    Attributes:
        logits: (B, C, H, W).
    """

    logits: Float[Tensor, "B C H W"]

    @property
    def mean(self) -> Float[Tensor, "B C H W"]:
        """sigmoid(logits)."""
        return torch.sigmoid(self.logits)

    def log_prob(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B"]:
        """x log p + (1 - x) log(1 - p), summed over the pixels."""
        return _rows(x * self.logits - F.softplus(self.logits))


@pytree_record
@dataclass(frozen=True)
class Gaussian:
    """Independent Gaussian pixels.

    Attributes:
        mean: (B, C, H, W) in [0, 1].
        log_var: the natural logarithm of the variance, any shape that broadcasts with `mean`.
    """

    mean: Float[Tensor, "B C H W"]
    log_var: Float[Tensor, "..."]

    def log_prob(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B"]:
        """-1/2 ((x - mean)^2 / var + log var + log 2 pi), summed over the pixels."""
        square = (x - self.mean).square() * torch.exp(-self.log_var)
        return -0.5 * _rows(square + self.log_var + math.log(2 * math.pi))

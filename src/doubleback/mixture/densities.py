"""The densities of all classes in one matrix product: equation 13 (see the package)."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

_PRODUCTS = 1 << 23  # of elements of z at a time: what bounds the memory


class LatentMixtures(nn.Module):
    """log p(z|i) of K classes, each a mixture of M Gaussians in D dimensions, in float64.

    Buffers: `log_weights` (K, M), `means` (K, M, D), `whitening` (K, M, D, D): L, with L L' the inverse covariance.

    Args:
        log_weights, means, whitening: as above.
    """

    PARTS = ("log_weights", "means", "whitening")
    log_weights: Tensor
    means: Tensor
    whitening: Tensor
    centre: Tensor
    P: Tensor
    b: Tensor
    c: Tensor
    upper: Tensor
    packed: Tensor

    def __init__(
        self,
        log_weights: Float[Tensor, "K M"],
        means: Float[Tensor, "K M D"],
        whitening: Float[Tensor, "K M D D"],
    ) -> None:
        super().__init__()
        for name, values in zip(self.PARTS, (log_weights, means, whitening), strict=True):
            self.register_buffer(name, values.double())
        for name in ("centre", "P", "b", "c", "upper", "packed"):
            self.register_buffer(name, torch.empty(0), persistent=False)
        self._expand_square()
        self.register_load_state_dict_post_hook(lambda module, _: module._expand_square())  # type: ignore[no-untyped-call]

    def _expand_square(self) -> None:
        """P (K M, D D), b (K M, D) and c (K M,) from the parts."""
        self.centre = self.means.mean((0, 1))
        L, mu = self.whitening, self.means - self.centre
        D = mu.shape[2]
        precision = L @ L.mT
        b = (precision @ mu[..., None]).squeeze(-1)
        log_det = L.diagonal(dim1=2, dim2=3).log().sum(2)
        self.P, self.b = precision.flatten(0, 1).flatten(1), b.flatten(0, 1)
        self.c = (self.log_weights - D / 2 * math.log(2 * math.pi) + log_det - (mu * b).sum(2) / 2).flatten()
        self.upper = torch.triu_indices(D, D, device=mu.device)
        twice = torch.where(self.upper[0] == self.upper[1], 1.0, 2.0).to(mu)
        self.packed = (self.P[:, self.upper[0] * D + self.upper[1]] * twice).T.contiguous()

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B K"]:
        """log p(z|i) in nats, float64."""
        parts = (self.packed, self.upper, self.P, self.b, self.c)
        rows = max(1, _PRODUCTS // z.shape[1] ** 2)
        chunks = torch.split(z.double() - self.centre, rows)
        log_joint = torch.cat([_LogJoint.apply(chunk, *parts) for chunk in chunks])  # type: ignore[no-untyped-call]
        return torch.logsumexp(log_joint.view(len(z), *self.log_weights.shape), dim=2)


class _LogJoint(torch.autograd.Function):
    """c + b' z - z' P z / 2 of each Gaussian, (B, K M), whose gradient in z, b - P z, needs no products of z.

    P is symmetric: going forward, its upper half is enough.
    """

    @staticmethod
    def forward(z: Tensor, packed: Tensor, upper: Tensor, P: Tensor, b: Tensor, c: Tensor) -> Tensor:
        del P
        i, j = upper
        return torch.addmm(c + z @ b.T, z[:, i] * z[:, j], packed, alpha=-0.5)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        del output
        z, _, _, P, b, _ = inputs
        ctx.save_for_backward(z, P, b)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        z, P, b = ctx.saved_tensors
        D = z.shape[1]
        Pz = (g @ P).view(-1, D, D) @ z[:, :, None]
        return g @ b - Pz.squeeze(-1), None, None, None, None, None

"""An objective as somebody else would write it: other terms, a parameter of its own, a term that comes in slowly."""

import torch
from torch import Tensor, nn

from doubleback.data import Split
from doubleback.evaluation import evaluating
from doubleback.models import VAE
from doubleback.objective import Terms, TrainingObjective
from doubleback.tensors import placed


class RateDistortion(TrainingObjective):
    """rate + distortion + weight * spread: ||x_hat - x||^2 in units of a variance that is learned, ||mean||^2 later."""

    terms = ("rate", "distortion", "spread_of_codes")

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.model = VAE((1, 8, 8), hidden=(32,), latent=4)
        self.log_variance = nn.Parameter(torch.zeros(()))
        self.weights_seen: list[float] = []

    def penalty_weight(self, step: int, steps: int) -> float:
        """It rises, from the middle on."""
        return max(0.0, step / steps - 0.5)

    def share(
        self, x: Tensor, labels: Tensor | None, generator: torch.Generator, mine: slice
    ) -> tuple[Tensor | None, ...]:
        """Images and noise."""
        del labels
        noise = torch.randn(len(x), *self.model.noise_shape, generator=generator)
        return x[mine], noise[mine]

    def forward(self, x: Tensor, noise: Tensor, penalised: bool) -> Terms:
        """The terms; that of the codes where it is on."""
        r = self.model(x, noise)
        square = (r.likelihood.mean - x).square().flatten(1)
        distortion = 0.5 * (square * (-self.log_variance).exp() + self.log_variance).sum(1)
        terms = {"rate": r.posterior.kl_to_standard(), "distortion": distortion}
        return terms | {"spread_of_codes": r.posterior.mean.square().sum(1)} if penalised else terms

    def total(self, terms: Terms, penalty_weight: float) -> Tensor:
        """Their sum."""
        self.weights_seen.append(penalty_weight)
        loss = terms["rate"].mean() + terms["distortion"].mean()
        return loss + penalty_weight * terms["spread_of_codes"].mean() if "spread_of_codes" in terms else loss

    def validated(self, split: Split) -> dict[str, float | None]:
        """The mean squared error of a pixel."""
        with evaluating(self.model):
            x = placed(self.model, split.images)
            return {"mse": (self.model(x).likelihood.mean - x).square().mean().item()}

    def logged(self, penalty_weight: float) -> dict[str, float]:
        """The weight, by another name."""
        return {"weight_of_spread": penalty_weight}

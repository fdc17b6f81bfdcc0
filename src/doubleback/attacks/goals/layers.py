"""All layers at once: where one of them loses the gradient, the others still have theirs (GRILL, arXiv 2505.03646).

    -sqrt((sum_k w_k mse(h_k(x), h_k(x0))) mse(x_hat(x), x_hat(x0))),      h_k: what layer k gives

(the root, which moves no minimum, keeps the gradient of a small change from being rounded away).
w_k = 1 for all layers ("equal"), or falls with the condition number c_k of the layer's weight, of which a layer without
weights has 1 ("condition"): w_k = (sum_j c_j - c_k) / sum_i (sum_j c_j - c_i).
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from doubleback.attacks.goals.base import RowLoss
from doubleback.attacks.goals.output import made_of
from doubleback.errors import InputError
from doubleback.models.base import Autoencoder
from doubleback.settings.checks import one_of
from doubleback.tensors import squared_distance

WEIGHTS = ("condition", "equal")
TINY = 1e-24  # under the root, which has no slope at zero


@dataclass(frozen=True)
class Layers:
    """Every layer's output, as far from its output for the source as possible.

    Args:
        weights: "condition" or "equal".

    Raises:
        InputError: they are neither; or, of `loss`, the model is not a module, or none of its layers gives a tensor.
    """

    weights: str = "condition"
    targeted: ClassVar[bool] = False
    about: ClassVar[str] = "moves what every layer gives, anywhere"

    def __post_init__(self) -> None:
        one_of(WEIGHTS, weights=self.weights)

    @property
    def name(self) -> str:
        """What results call it."""
        return "layers" if self.weights == "condition" else f"layers-{self.weights}"

    def loss(self, model: Autoencoder, source: Tensor, target: Tensor) -> RowLoss:
        """The weighted sum of the layers' changes, times the output's."""
        del target
        if not isinstance(model, nn.Module):
            raise InputError("this model is not a torch module, so it has no layers; choose another goal")
        given, output = _given(model, source, None)
        places = [place for place, (_, one) in enumerate(given) if len(one) == len(source)]
        if not places:
            raise InputError(
                "none of this model's layers gives a tensor with one row for each image; choose another goal"
            )
        condition = source.new_tensor([_condition(given[place][0]) for place in places])
        complement = condition.sum() - condition
        equal = torch.ones_like(condition)
        weights = complement / complement.sum().clamp_min(1e-12) if self.weights == "condition" else equal

        def of(x: Tensor, pair: Tensor, noise: Tensor | None) -> Tensor:
            with _heard(model) as now:
                x_hat = made_of(model, x, noise)
            before, before_hat, rows = given, output, pair
            if noise is not None:
                before, before_hat = _given(model, source.index_select(0, pair), noise)
                rows = torch.arange(len(x), device=x.device)
            of_layers = x.new_zeros(len(x))
            for weight, place in zip(weights, places, strict=True):
                new, old = now[place][1], before[place][1]
                if len(new) == len(x):  # not a codebook, which has as many rows whatever the batch
                    of_layers = of_layers + weight * squared_distance(new, old.index_select(0, rows)) / new[0].numel()
            own = squared_distance(x_hat, before_hat.index_select(0, rows)) / x_hat[0].numel()
            return -(of_layers * own + TINY).sqrt()

        return of


def has_layers(model: object) -> bool:
    """Whether its passes go through layers that can be heard: those of a compiled or exported program do not."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    if any(isinstance(module, torch.jit.ScriptModule | torch.fx.GraphModule) for module in modules):
        return False
    return any(not any(one.children()) and any(True for _ in one.parameters()) for one in modules[1:])


@torch.no_grad()
def _given(model: Autoencoder, x: Tensor, noise: Tensor | None) -> "tuple[list[tuple[nn.Module, Tensor]], Tensor]":
    """What each layer gives for these images, and what the model makes of them."""
    assert isinstance(model, nn.Module)
    with _heard(model) as given:
        x_hat = made_of(model, x, noise)
    return given, x_hat


@contextmanager
def _heard(model: nn.Module) -> Iterator[list[tuple[nn.Module, Tensor]]]:
    """What each innermost layer gives meanwhile, in order."""
    given: list[tuple[nn.Module, Tensor]] = []

    def hear(layer: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.is_floating_point() and output.dim() > 1:
            given.append((layer, output))

    with ExitStack() as stack:
        for layer in model.modules():
            if not any(layer.children()):
                stack.callback(layer.register_forward_hook(hear).remove)
        yield given


def _condition(layer: nn.Module) -> float:
    """The largest singular value of the layer's weight, flattened to a matrix, over the smallest; 1 without one."""
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, Tensor) or weight.dim() < 2:
        return 1.0
    values = torch.linalg.svdvals(weight.detach().double().flatten(1))
    return float(values.max() / values.min().clamp_min(1e-12))

"""The compiled gradients of each penalty beside the eager ones, as JSON: python -m tests.objective.compiled

A process of its own: pytest's run-time checks of shapes break every graph that the compiler begins. With `fullgraph` it
says so instead of running what it cannot trace as it is.
"""

import json

import torch
from torch import Tensor, nn

from doubleback.objective import Objective
from tests.objective.models import PENALTIES, images, small_vae

CASES = [*((penalty, "exact") for penalty in (*PENALTIES, "targeted", "spectral")), ("reconstruction", "perturbed")]


def furthest(penalty: str, estimator: str) -> float:
    """The largest difference of a gradient, over 1e-5 + 1e-4 of what it is."""
    objective = Objective(small_vae().float(), penalty=penalty, estimator=estimator)
    x = images(3).float()
    drawn = objective.draw(x, torch.Generator().manual_seed(0))

    def gradients(module: nn.Module) -> list[Tensor]:
        objective.zero_grad()
        terms = module(x, *drawn, True)
        torch.stack([term.mean() for term in terms.values()]).sum().backward()
        return [p.grad.clone() for p in objective.parameters() if p.grad is not None]

    eager, compiled = gradients(objective), gradients(torch.compile(objective, fullgraph=True))
    off = [((one - other).abs() / (1e-5 + 1e-4 * one.abs())).max() for one, other in zip(eager, compiled, strict=True)]
    return torch.stack(off).max().item()


if __name__ == "__main__":
    print(json.dumps({f"{penalty} {estimator}": furthest(penalty, estimator) for penalty, estimator in CASES}))

"""What stands for which objective, and what an objective has to say."""

import pytest
from torch import nn

from doubleback.errors import InputError
from doubleback.models import MLP, VAE, AutoencoderAdapter
from doubleback.objective import Classification, Objective, TrainingObjective, objective_of


def test_a_bare_model_stands_for_its_objective() -> None:
    vae, mlp = VAE((1, 2, 2), hidden=(3,), latent=1), MLP((1, 2, 2), ("a", "b"), hidden=(3,))
    assert isinstance(objective_of(vae), Objective)
    assert objective_of(vae).model is vae
    assert isinstance(objective_of(mlp), Classification)
    given = Objective(vae, penalty="output")
    assert objective_of(given) is given


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_module_cannot_be_trained() -> None:
    class Frozen:
        def __call__(self, x: object) -> object:
            return x

    for given in (Frozen(), AutoencoderAdapter):
        with pytest.raises(InputError, match=r"give a torch.nn.Module to train"):
            objective_of(given)  # type: ignore[arg-type]


def test_an_objective_says_everything_that_is_asked_of_it() -> None:
    class Half(TrainingObjective):
        terms = ("rate",)
        model = nn.Identity()

    with pytest.raises(TypeError, match="forward, share, total, validated"):
        Half()  # type: ignore[abstract]

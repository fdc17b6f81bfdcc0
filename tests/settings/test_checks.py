"""Settings are frozen, say no in one line, and are changed and filled by the names of their innermost fields."""

from dataclasses import FrozenInstanceError

import pytest

from doubleback.errors import InputError
from doubleback.settings import (
    Architecture,
    Data,
    Loop,
    Mixture,
    Pairing,
    Penalty,
    Price,
    Search,
    Settings,
    Sizes,
    Threats,
    Training,
    Walk,
)
from doubleback.settings.ball import BallSearch


def test_changed_reaches_the_innermost_fields() -> None:
    changed = Training().changed(latent=3, seed=7, kl_weight=0.5)
    assert changed == Training(architecture=Architecture(sizes=Sizes(latent=3)), loop=Loop(seed=7), kl_weight=0.5)
    assert Training() == Training().changed()
    with pytest.raises(TypeError, match="there is no setting latents; Training has data, image_size"):
        Training().changed(latents=3)
    with pytest.raises(InputError, match="seed is -1"):
        Training().changed(seed=-1)
    with pytest.raises(FrozenInstanceError):
        changed.kl_weight = 1.0  # type: ignore[misc]


def test_filled_changes_only_what_was_left_out() -> None:
    filled = Training().changed(epochs=3).filled(epochs=9, batch_size=16, hidden=(5,))
    assert (filled.loop.epochs, filled.loop.batch_size, filled.architecture.sizes.hidden) == (3, 16, (5,))
    assert Penalty(penalty_start=0.0).filled(penalty_start=0.5).penalty_start == 0.0, "0 is said, not left out"


REFUSED = [
    (Data, {"image_size": 0}, "image size is 0"),
    (Data, {"limit": -1}, "limit is -1"),
    (Architecture, {"model": "transformer"}, "model is 'transformer'; choose one of vae, "),
    (Architecture, {"likelihood": "cauchy"}, "likelihood is 'cauchy'; choose one of bernoulli, "),
    (Architecture, {"variance": 0.0}, "variance is 0.0"),
    (Architecture, {"model": "vae", "sizes": Sizes(steps=3)}, "--model.steps is not a size of vae"),
    (Architecture, {"model": "draw", "sizes": Sizes(hidden=(3, 4))}, "draw has one"),
    (Penalty, {"penalty": "jacobian"}, "penalty is 'jacobian'"),
    (Penalty, {"penalty_weight": -1.0}, "penalty weight is -1.0"),
    (Penalty, {"penalty_weight": float("nan")}, "penalty weight is nan"),
    (Penalty, {"through_target": "perhaps"}, "through target is 'perhaps'; choose one of yes, no"),
    (Penalty, {"projections": 0}, "projections is 0"),
    (Penalty, {"every": 0}, "every is 0"),
    (Penalty, {"estimator": "guess"}, "estimator is 'guess'"),
    (Penalty, {"difference_step": 0.0}, "difference step is 0.0"),
    (Penalty, {"penalty_start": 1.1}, "penalty start is 1.1"),
    (Penalty, {"penalty": "latent", "estimator": "perturbed"}, "the latent penalty cannot be perturbed"),
    (Loop, {"epochs": 0}, "epochs is 0"),
    (Loop, {"batch_size": 0}, "batch size is 0"),
    (Loop, {"learning_rate": float("inf")}, "learning rate is inf"),
    (Loop, {"max_grad_norm": -1.0}, "max grad norm is -1.0"),
    (Loop, {"seed": 2**32}, "seed is 4294967296"),
    (Loop, {"precision": "8"}, "precision is '8'"),
    (Loop, {"devices": 0}, "devices is 0"),
    (Training, {"kl_weight": -1.0}, "kl weight is -1.0"),
    (Training, {"architecture": Architecture("ae"), "kl_weight": 0.5}, "ae has no KL"),
    (Training, {"architecture": Architecture("mlp"), "penalty": Penalty("output")}, "--penalty is for autoencoders"),
    (Training, {"architecture": Architecture("mlp"), "penalty": Penalty(every=2)}, "--every is for autoencoders"),
    (Training, {"architecture": Architecture("lenet"), "kl_weight": 1.0}, "--kl-weight is for autoencoders"),
    (Training, {"architecture": Architecture("mlp", likelihood="gaussian")}, "--likelihood is for autoencoders"),
    (Pairing, {"pairs": 0}, "pairs is 0"),
    (Price, {"coefficients": 0}, "coefficients is 0"),
    (Price, {"coefficients": ()}, "coefficients must be a row"),
    (Price, {"coefficients": (1.0, -1.0)}, "coefficients must be a row"),
    (Search, {"steps": 0}, "steps is 0"),
    (Search, {"restarts": -1}, "restarts is -1"),
    (Search, {"samples": -1}, "samples is -1"),
    (Search, {"seed": -1}, "seed is -1"),
    (Mixture, {"components": 0}, "components is 0"),
    (Mixture, {"covariance": "round"}, "covariance is 'round'"),
    (Mixture, {"regularization": -1.0}, "regularization is -1.0"),
    (Threats, {"attack": ()}, "attack is missing"),
    (Threats, {"attack": ("deepfool",)}, "attack is 'deepfool'; choose one of fgsm, pgd, apgd"),
    (Threats, {"norm": "L1"}, "norm is 'L1'; choose one of Linf, L2"),
    (Threats, {"queries": -1}, "queries is -1"),
    (Threats, {"noise_samples": 0}, "noise samples is 0"),
    (Threats, {"eps": ()}, "eps is empty"),
    (Threats, {"eps": ("much",)}, "eps 'much' is not a number"),
    (Threats, {"eps": ("1/0",)}, "eps '1/0' is not a number"),
    (Threats, {"eps": ("1e400",)}, "eps is 1e400; pixels lie in"),
    (Threats, {"eps": ("1e-400",)}, "give a positive number"),
    (Threats, {"eps": ("-0.1",)}, "eps is -0.1"),
    (Threats, {"eps": ("0.1", "0.10")}, "eps 0.10 is there twice"),
    (Walk, {"eta": 0.0}, "eta is 0.0"),
    (Walk, {"steps": 0}, "steps is 0"),
    (Walk, {"confidence": 1.5}, "confidence is 1.5"),
    (Walk, {"beyond": -1}, "beyond is -1"),
    (BallSearch, {"losses": ()}, "loss is missing"),
    (BallSearch, {"losses": ("hinge",)}, "loss hinge; choose from cross-entropy"),
    (BallSearch, {"step_size": 0.0}, "step size is 0.0"),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("kind", "values", "said"), REFUSED)
def test_what_is_refused(kind: type[Settings], values: dict[str, object], said: str) -> None:
    """In one line, as soon as it is said."""
    with pytest.raises(InputError) as caught:
        kind(**values)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_batch_is_shared_by_the_processes_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchrun's count goes first; settings that are only read, as of a run to audit, may have any batch."""
    with pytest.raises(InputError, match="batch size 5 does not divide over 2 processes"):
        Loop(batch_size=5, devices=2).check_shares()
    Loop(batch_size=6, devices=2).check_shares()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(InputError, match="batch size 6 does not divide over 4 processes"):
        Loop(batch_size=6, devices=2).check_shares()

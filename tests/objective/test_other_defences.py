"""Penalties that hold no derivative: noisy images, codes under the worst small change; hand-worked values."""

from pathlib import Path

import pytest
import torch

import doubleback
from doubleback.attacks.goals.code import wasserstein
from doubleback.data import ImageData, Split
from doubleback.errors import InputError
from doubleback.objective import Objective
from doubleback.objective.penalties.codes import code_of, kept_code_penalty, smooth_code_penalty
from doubleback.objective.penalties.kinds import KINDS
from doubleback.objective.penalties.noise import noise_penalty
from doubleback.settings import Penalty
from doubleback.settings.penalty import RADII
from doubleback.training import fit
from tests.objective.models import images, no_projection, small_vae
from tests.problems import LinearAutoencoder


def test_the_error_on_noisy_images_of_a_linear_autoencoder() -> None:
    """||V (W (x + r n) + b) + c - x||^2."""
    model, x, n = no_projection(LinearAutoencoder()), images(), images(seed=1)
    moved = (x + 0.3 * n).flatten(1)
    wanted = ((moved @ model.W.mT + model.b) @ model.V.mT + model.c - x.flatten(1)).square().sum(1)
    assert torch.allclose(noise_penalty(model, x, None, n, radius=0.3)[1], wanted)


def test_the_worst_change_of_a_code_of_one_number() -> None:
    """max |w d| over |d| <= r is r ||w||_1: the corner that the signs of w name."""
    model, x = LinearAutoencoder(), torch.full((2, 1, 4, 4), 0.5, dtype=torch.float64)
    with torch.no_grad():
        model.W[1:] = 0
    start = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(0))
    wanted = (0.1 * model.W[0].abs().sum()).square().expand(2)
    _, smooth = smooth_code_penalty(model, x, None, start, radius=0.1, steps=20)
    assert torch.allclose(smooth, wanted)
    old = code_of(model, x)
    _, kept = kept_code_penalty(model, x, None, start, old, radius=0.1, steps=20)
    assert torch.allclose(kept, wanted)
    (gradient,) = torch.autograd.grad(kept.mean(), [model.W])
    assert torch.allclose(gradient[0], 2 * 0.01 * model.W[0].abs().sum() * model.W[0].sign())


def test_more_steps_find_no_less_and_stay_in_the_ball() -> None:
    model, x = small_vae(), images(6)
    start = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(0))
    few, many = (smooth_code_penalty(model, x, None, start, radius=0.1, steps=steps)[1] for steps in (1, 40))
    assert (many >= few - 1e-12).all()
    corners = x + 0.1 * (torch.randint(2, (200, *x.shape), generator=torch.Generator().manual_seed(1)) * 2.0 - 1)
    q = model.encode(x)
    each = torch.stack([wasserstein(model.encode(corner.clamp(0, 1)), q) for corner in corners])
    assert (many > 2 * each.mean(0)).all()  # one start climbs to a corner, if not always to the best one


def test_the_code_is_kept_where_it_was_at_the_start() -> None:
    """A shift of the encoder's last bias moves every code by as much, whatever d is."""
    model, x = small_vae(), images(4)
    objective = Objective(model, "kept-code", radius=1e-9, penalty_start=0.0)
    draws = objective.draw(x, torch.Generator().manual_seed(0))
    assert objective(x, *draws)["penalty"].max() < 1e-12
    with torch.no_grad():
        model.encoder[-1].bias[:3] += torch.tensor([1.0, 2.0, 0.0], dtype=torch.float64)
    moved = {name: one.clone() for name, one in model.state_dict().items()}
    assert torch.allclose(objective(x, *draws)["penalty"], torch.full((4,), 5.0, dtype=torch.float64))
    assert all(torch.equal(one, moved[name]) for name, one in model.state_dict().items())


def test_the_code_is_kept_in_bf16_too() -> None:
    """Autocast keeps copies of weights in bf16: those of the start once stood for the present ones in all of a step."""
    x, values = images(4).float(), []
    for precise in (True, False):
        model = small_vae("gaussian").float()
        objective = Objective(model, "kept-code", penalty_start=0.0)
        draws = objective.draw(x, torch.Generator().manual_seed(0))
        with torch.no_grad():
            model.encoder[-1].bias[:3] += torch.tensor([4.0, 8.0, 0.0])
        with torch.autocast("cpu", torch.bfloat16, enabled=not precise):
            terms = objective(x, *draws)
            loss = objective.total(terms, 1.0)
        loss.backward()
        values.append((terms["penalty"].mean().item(), loss.item(), model.encoder[-1].bias.grad))
    (kept, loss, slope), (kept_bf16, loss_bf16, slope_bf16) = values
    assert kept > 50
    assert kept_bf16 == pytest.approx(kept, rel=0.03)
    assert loss_bf16 == pytest.approx(loss, rel=0.03)
    assert torch.nn.functional.cosine_similarity(slope, slope_bf16, dim=0) > 0.99


@pytest.mark.parametrize("penalty", sorted(RADII))
def test_they_train_and_lower_their_own_term(penalty: str) -> None:
    x = (images(64) * 255).byte()
    data = ImageData("own", Split(x[:48]), Split(x[48:]), Split(x[48:]))

    def trained(weight: float) -> float:
        objective = Objective(small_vae("gaussian").float(), penalty, penalty_start=0.0, penalty_weight=weight)
        history = fit(objective, data, epochs=12, batch_size=16, learning_rate=1e-2, progress=False)
        return float(history.rows[-1]["penalty"])

    assert trained(300.0) < 0.5 * trained(1e-9) if penalty != "noise" else trained(300.0) < trained(1e-9)


def test_a_resumed_training_keeps_to_the_code_of_the_first_start(tmp_path: Path) -> None:
    x = (images(32) * 255).byte()
    data = ImageData("own", Split(x), Split(x[:8]), Split(x[:8]))

    def trained(folder: Path, stop: bool) -> torch.Tensor:
        model = small_vae("gaussian").float()
        objective = Objective(model, "kept-code", penalty_start=0.0, penalty_weight=10.0)
        steps = iter(range(100))
        if stop:
            objective.register_forward_pre_hook(lambda *_: _interrupt() if next(steps) == 9 else None)
        fit(objective, data, epochs=4, batch_size=8, learning_rate=1e-2, folder=folder, resume=True, progress=False)
        return model.encoder[-1].weight.detach()

    def _interrupt() -> None:
        raise KeyboardInterrupt

    whole = trained(tmp_path / "whole", stop=False)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "stopped", stop=True)
    assert torch.equal(trained(tmp_path / "stopped", stop=False), whole)


@pytest.mark.parametrize("penalty", sorted(KINDS))
def test_every_penalty_can_be_taken_by_hand_and_at_blends(penalty: str) -> None:
    values = doubleback.penalty(small_vae(), penalty, at="blends")(images(4))
    assert values.shape == (2,)
    assert values.isfinite().all()


@pytest.mark.parametrize(("settings", "said"), [({"radius": 0.0}, "radius"), ({"ascent_steps": 0}, "ascent steps")])
def test_what_is_out_of_range_is_refused(settings: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Penalty("smooth-code", **settings)

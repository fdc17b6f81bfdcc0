"""Each check on numbers worked by hand, and on the planted case that it is for."""

import pytest
import torch
from torch import Tensor

from doubleback.trust import CHECKS, Check, beaten, recorded, single_noise, vanishing_gradients


def images(count: int = 10) -> Tensor:
    return torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def test_a_check_fires_above_its_threshold_and_not_at_it() -> None:
    threshold, _ = CHECKS["more_steps_help"]
    assert not Check.named("more_steps_help", threshold).fires
    assert Check.named("more_steps_help", threshold + 1e-6).fires
    record = recorded([Check.named("more_steps_help", 0.5), Check.named("noise_beats_gradient", 0.0)])
    assert list(record["checks"]) == ["more_steps_help", "noise_beats_gradient"]
    assert record["flags"] == {"more_steps_help": "four times the steps get 50.0% more"}


def test_shares_are_of_what_only_the_other_fools_at_the_worst_epsilon() -> None:
    attacks = torch.tensor([[True, False, False, False], [True, True, True, False]])
    by = torch.tensor([[True, True, False, False], [False, True, True, True]])
    assert beaten("noise_beats_gradient", by, attacks).value == 0.25
    assert beaten("noise_beats_gradient", attacks, attacks).value == 0


@pytest.mark.parametrize(
    ("loss", "share"),
    [
        (lambda x, _: x.flatten(1).sum(1), 0.0),
        (lambda x, _: (255 * x).round().flatten(1).sum(1) / 255, 1.0),  # a rounded input
        (lambda x, _: torch.softmax(1e4 * torch.stack([x.mean((1, 2, 3)), x.mean((1, 2, 3)) - 1]).T, 1)[:, 0], 1.0),
        (lambda x, rows: x.flatten(1).sum(1) * (rows < 3), 0.7),  # for some inputs only
        (lambda x, _: x.flatten(1).sum(1) / 0, 1.0),  # not finite
        (lambda x, _: x.detach().flatten(1).sum(1), 1.0),  # no gradient at all
    ],
)
def test_the_share_without_a_gradient(loss: object, share: float) -> None:
    assert vanishing_gradients([loss], images(), max_rows=4).value == pytest.approx(share)  # type: ignore[list-item]


def test_one_loss_that_can_be_followed_is_enough() -> None:
    rounded, plain = (lambda x, _: x.round().flatten(1).sum(1)), (lambda x, _: x.flatten(1).sum(1))
    assert vanishing_gradients([rounded, plain], images()).value == 0
    assert vanishing_gradients([rounded], images()[:0]).value == 0


def test_a_model_that_draws_noise_when_asked_is_found_unless_its_answers_are_averaged() -> None:
    def noisy(x: Tensor) -> Tensor:
        return x.flatten(1) + 0.1 * torch.randn(len(x), x[0].numel())

    assert single_noise(noisy, images(), 1).fires
    assert not single_noise(noisy, images(), 8).fires
    assert not single_noise(lambda x: x.flatten(1), images(), 1).fires
    assert not single_noise(lambda x: x.flatten(1) * (1 + 1e-7 * torch.rand(())), images(), 1).fires

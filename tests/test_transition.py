"""Image transition on a classifier whose gradient is known."""

import pytest
import torch
from torch import Tensor, nn

from doubleback.errors import InputError
from doubleback.settings import Walk
from doubleback.transition import image_transition


class Brightness(nn.Module):
    """f_1 rises with the sum of the pixels: s = (0, a (sum x - b)); its gradient is the same everywhere."""

    classes = ("dark", "bright")

    def __init__(self, slope: float = 1.0, centre: float = 8.0) -> None:
        super().__init__()
        self.slope, self.centre = slope, centre
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        rise = self.slope * (x.flatten(1).sum(1) - self.centre)
        return torch.stack([torch.zeros_like(rise), rise], 1)


def dark(count: int = 3) -> Tensor:
    return torch.linspace(0.2, 0.4, count).view(-1, 1, 1, 1).expand(count, 1, 4, 4).contiguous()


def test_each_step_has_length_eta_and_goes_up() -> None:
    """16 pixels: a step of 0.4 raises each by 0.1 and the sum by 1.6; s reaches log(0.95 / 0.05) at a sum of 10.944."""
    x, target = dark(), torch.tensor([1, 1, 1])
    found = image_transition(Brightness(), x, target, eta=0.4, steps=50, shown=2)
    needed = torch.ceil((8 + torch.log(torch.tensor(0.95 / 0.05)) - x.flatten(1).sum(1)) / 1.6).long()
    assert torch.equal(found.steps, needed)
    assert torch.allclose(found.final, x + 0.1 * needed.view(-1, 1, 1, 1), atol=1e-5)
    assert found.path.shape == (int(needed.max()) + 1, 2, 1, 4, 4)
    assert found.probabilities.shape == (int(needed.max()) + 1, 3, 2)
    own = found.probabilities[..., 1]
    assert bool((own.diff(dim=0) >= 0).all())
    assert bool((own[-1] >= 0.95).all())
    assert torch.allclose(found.probabilities.sum(2), torch.ones(()))


def test_it_stops_there_or_goes_on_beyond() -> None:
    x, target = dark(1), torch.tensor([1])
    stopped = image_transition(Brightness(), x, target, eta=0.4)
    beyond = image_transition(Brightness(), x, target, eta=0.4, beyond=3)
    assert int(beyond.steps) == int(stopped.steps) + 3
    assert torch.allclose(beyond.final, stopped.final + 0.3, atol=1e-5)
    walk = image_transition(Brightness(), x, target, Walk(eta=0.4), beyond=3)
    assert torch.equal(walk.path, beyond.path)
    assert int(image_transition(Brightness(), x, target, Walk(eta=0.4)).steps) > int(beyond.steps)  # 40, where it fits
    limited = image_transition(Brightness(), x, target, eta=0.4, steps=2)
    assert int(limited.steps) == 2


def test_an_image_that_is_there_already_stays() -> None:
    x = torch.full((1, 1, 4, 4), 0.9)
    found = image_transition(Brightness(), x, torch.tensor([1]))
    assert int(found.steps) == 0
    assert torch.equal(found.final, x)


def test_a_probability_too_small_for_float32_is_still_climbed() -> None:
    """f_1 = exp(-1600) is 0 in float32 and float64; its logarithm has a gradient."""
    found = image_transition(Brightness(slope=200.0), torch.zeros(1, 1, 4, 4), torch.tensor([1]), eta=0.4)
    assert float(found.probabilities[0, 0, 1]) == 0
    assert float(found.probabilities[-1, 0, 1]) >= 0.95


def test_images_stay_in_the_box_and_do_not_act_on_each_other() -> None:
    x, target = torch.cat([dark(2), torch.full((1, 1, 4, 4), 0.6)]), torch.tensor([1, 1, 0])
    together = image_transition(Brightness(), x, target, eta=3.0, beyond=5)
    assert 0 <= float(together.final.min()) <= float(together.final.max()) <= 1
    for i in range(3):
        alone = image_transition(Brightness(), x[i : i + 1], target[i : i + 1], eta=3.0, beyond=5)
        assert torch.allclose(alone.final[0], together.final[i], atol=1e-6)
        assert int(alone.steps) == int(together.steps[i])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"eta": 0.0}, "eta is 0"),
        ({"steps": 0}, "steps is 0"),
        ({"beyond": -1}, "beyond is -1"),
        ({"confidence": 1.5}, "confidence is 1.5"),
        ({"targets": torch.tensor([2])}, "2 classes"),
        ({"targets": torch.tensor([0, 1])}, "targets"),
        ({"x": torch.full((1, 1, 4, 4), 2.0)}, "max 2"),
    ],
)
def test_bad_input(changes: dict[str, object], says: str, unchecked: None) -> None:
    given = {"x": dark(1), "targets": torch.tensor([1]), **changes}
    with pytest.raises(InputError, match=says):
        image_transition(Brightness(), **given)  # type: ignore[arg-type]

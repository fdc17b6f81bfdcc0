"""Which pairs are drawn, and how an adversarial input is scored."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from doubleback.auditing.pairs import Pairs, draw_pairs, label_of
from doubleback.errors import InputError
from tests.problems import LinearAutoencoder


@given(count=st.integers(2, 60), data=st.data(), seed=st.integers(0, 99))
def test_pairs_differ_in_label_and_are_nested(count: int, data: st.DataObject, seed: int) -> None:
    labels = torch.tensor(data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)))
    labels[0], labels[1] = 0, 1
    pairs = data.draw(st.integers(1, count))
    source, target = draw_pairs(count, labels, pairs, seed)
    assert len(source) == len(target) == pairs
    assert len(set(source.tolist())) == pairs
    assert (labels[source] != labels[target]).all()
    fewer = draw_pairs(count, labels, max(1, pairs // 2), seed)
    assert torch.equal(fewer[0], source[: len(fewer[0])])
    assert torch.equal(fewer[1], target[: len(fewer[1])])


def test_without_labels_no_image_is_its_own_target() -> None:
    source, target = draw_pairs(5, None, 5, 0)
    assert (source != target).all()


@given(seed=st.integers(0, 99), pairs=st.integers(1, 10))
def test_pairs_can_be_drawn_from_one_label_to_another(seed: int, pairs: int) -> None:
    labels = torch.arange(40) % 4
    source, target = draw_pairs(40, labels, pairs, seed, 1, 3)
    assert len(source) == len(target) == pairs
    assert (labels[source] == 1).all()
    assert (labels[target] == 3).all()
    assert (labels[draw_pairs(40, labels, pairs, seed, source_label=2)[0]] == 2).all()
    free, to_three = draw_pairs(40, labels, pairs, seed, target_label=3)
    assert (labels[free] != 3).all()
    assert (labels[to_three] == 3).all()
    more, _ = draw_pairs(40, labels, 10, seed, 1, 3)
    assert torch.equal(more[:pairs], source)


@pytest.mark.parametrize(
    ("source", "target", "pairs", "said"),
    [
        (1, 1, 1, "0 images can be sources and 2 targets"),
        (1, 0, 3, "2 images can be sources"),
        (7, 0, 1, "0 images can be sources"),
        (0, 7, 1, "and 0 targets"),
    ],
)
def test_labels_that_cannot_be_had_are_refused(source: int, target: int, pairs: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        draw_pairs(4, torch.tensor([0, 1, 0, 1]), pairs, 0, source, target)
    with pytest.raises(InputError, match="have no labels"):
        draw_pairs(4, None, 1, 0, source, target)


def test_seeds_draw_other_pairs() -> None:
    assert not torch.equal(draw_pairs(100, None, 20, 0)[0], draw_pairs(100, None, 20, 1)[0])


@pytest.mark.parametrize(
    ("count", "labels", "pairs", "said"),
    [
        (10, None, 0, "pairs is 0"),
        (10, None, -1, "pairs is -1"),
        (10, None, 11, "pairs is 11, but there are 10 test images"),
        (1, None, 1, "there are 1 test images"),
        (3, torch.tensor([7, 7, 7]), 2, "all 3 test images have the label 7"),
        (3, torch.tensor([7, 7]), 2, "there are 2 labels for 3 images"),
    ],
)
def test_bad_requests(count: int, labels: torch.Tensor | None, pairs: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        draw_pairs(count, labels, pairs, 0)


def test_a_label_by_its_name_its_number_or_itself() -> None:
    names = ("cat", "dog", 7)
    assert [label_of(named, names) for named in (None, "dog", "7", 1)] == [None, 1, 2, 1]
    assert label_of("7", None) == 7


@pytest.mark.parametrize(
    ("named", "names", "said"),
    [
        ("cow", ("cat", "dog"), "class 'cow' is unknown; choose one of cat, dog"),
        ("1", ("cat", "dog"), "class '1' is unknown; choose one of cat, dog"),
        ("cow", None, "class 'cow' is unknown; choose one of the labels, whole numbers"),
        ("-1", None, "class '-1' is unknown"),
    ],
)
def test_a_class_that_there_is_not(named: str, names: tuple[str, ...] | None, said: str) -> None:
    with pytest.raises(InputError, match=said):
        label_of(named, names)


def test_scores_of_the_linear_autoencoder() -> None:
    """u and v of the source, of the target and of half the way, from their definitions."""
    model = LinearAutoencoder()
    source, target = torch.rand(2, 4, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pairs = Pairs(model, source, target, [None])
    x_adv = torch.stack([source, source.lerp(target, 0.5), target], dim=1)
    assert torch.allclose(pairs.distortion(x_adv), torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64).expand(4, 3))
    v = pairs.adversarial_distance(x_adv)
    assert torch.allclose(v[:, 0], torch.ones(4, dtype=torch.float64))
    assert torch.allclose(v[:, 2], torch.zeros(4, dtype=torch.float64), atol=1e-12)

    def distance(x: torch.Tensor) -> torch.Tensor:
        return (model(x).likelihood.mean - target).flatten(1).norm(dim=1).detach()

    middle = (distance(x_adv[:, 1]) - distance(target)) / (distance(source) - distance(target))
    assert torch.allclose(v[:, 1], middle)
    untargeted = pairs.adversarial_distance(x_adv, targeted=False)
    assert torch.allclose(untargeted, torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64).expand(4, 3), atol=1e-12)


def test_scores_are_means_over_the_draws() -> None:
    """With noise: v of each draw, averaged; a pair flagged under any draw is flagged."""
    model = LinearAutoencoder(log_var=-4.0)
    source, target = torch.rand(2, 4, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    draws = [*torch.randn(2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)]
    x_adv = source.lerp(target, 0.3)[:, None]
    each = [Pairs(model, source, target, [draw]) for draw in draws]
    both = Pairs(model, source, target, draws)
    expected = sum(one.adversarial_distance(x_adv) for one in each) / 2
    assert torch.allclose(both.adversarial_distance(x_adv), expected)
    assert torch.equal(both.flagged, each[0].flagged | each[1].flagged)


def test_an_image_without_a_label_is_in_no_pair() -> None:
    labels = torch.tensor([0, -1, 1, -1, 0, 1, -1])
    source, target = draw_pairs(7, labels, 4, 0)
    assert (labels[source] >= 0).all()
    assert (labels[target] >= 0).all()
    with pytest.raises(InputError, match="5, but 4 images can be sources"):
        draw_pairs(7, labels, 5, 0)
    with pytest.raises(InputError, match="have the label 0"):
        draw_pairs(3, torch.tensor([0, -1, 0]), 1, 0)

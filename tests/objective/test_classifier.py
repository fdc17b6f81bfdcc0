"""The classifier's objective against the softmax by hand."""

import torch

from doubleback.models import MLP
from doubleback.objective import Classification, classification_loss


def test_the_cross_entropy_by_hand() -> None:
    """-log softmax of two scores: log(1 + e^-d) for the first, d more for the second."""
    scores, d = torch.tensor([[3.0, 1.0], [3.0, 1.0]]), torch.tensor(2.0)
    expected = torch.stack([(-d).exp().log1p(), (-d).exp().log1p() + d])
    assert torch.allclose(classification_loss(scores, torch.tensor([0, 1])), expected)


def test_its_one_term_is_its_total_and_its_share_needs_no_randomness() -> None:
    objective = Classification(MLP((1, 2, 2), ("a", "b"), hidden=(3,)))
    x, y = torch.rand(5, 1, 2, 2), torch.tensor([0, 1, 1, 0, 1])
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    images, labels = objective.share(x, y, generator, slice(1, None, 2))
    assert torch.equal(generator.get_state(), before)
    assert torch.equal(images, x[1::2])
    assert torch.equal(labels, y[1::2])
    terms = objective(images, labels, False)
    assert list(terms) == list(objective.terms) == ["cross_entropy"]
    assert torch.equal(objective.total(terms, 0.0), classification_loss(objective.model(images), labels).mean())
    assert objective.penalty_weight(9, 10) == 0
    assert objective.logged(0.0) == {}

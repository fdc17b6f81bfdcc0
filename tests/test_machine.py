"""What the machine says of itself, and which precision it is quick in."""

import pytest
import torch

from doubleback import machine


def test_what_figures_were_made_on() -> None:
    told = machine.machine()
    assert set(told) == {"processor", "cores", "gpu", "python", "torch"}
    assert told["torch"] == torch.__version__
    assert 1 <= told["cores"] == machine.cores()


@pytest.mark.parametrize(("bf16", "float32", "has"), [(1.0, 2.0, True), (1.0, 1.1, False), (90.0, 1.0, False)])
def test_bf16_is_had_where_its_products_are_faster(
    bf16: float, float32: float, has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    seconds = {torch.bfloat16: bf16, torch.float32: float32}
    monkeypatch.setattr(machine, "_product_seconds", seconds.__getitem__)
    assert machine.has_bf16() is has


def test_a_product_takes_time() -> None:
    assert machine._product_seconds(torch.float32) > 0

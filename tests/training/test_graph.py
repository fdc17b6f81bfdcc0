"""Steps that are recorded on a GPU and replayed are the steps."""

from pathlib import Path

import pytest
import torch

from doubleback.data import ImageData
from doubleback.errors import InputError
from doubleback.models import DRAW
from doubleback.objective import Objective
from tests.training.own import RateDistortion
from tests.training.runs import fresh, interrupting, train, weights

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


@on_a_gpu
@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.usefixtures("unchecked")  # run-time checks cannot be traced
def test_a_graph_takes_the_same_steps(tiny: ImageData, precision: str, compile: bool) -> None:
    """Plain and penalised steps take turns: each is a graph of its own."""
    settings = {"epochs": 8, "precision": precision, "compile": compile}
    plain, graphed = (fresh(every=2) for _ in range(2))
    rows = train(plain, tiny, **settings).rows
    found = train(graphed, tiny, cuda_graph=True, **settings).rows
    assert found[-1]["loss"] == pytest.approx(rows[-1]["loss"], rel=1e-5)
    assert found[-1]["penalty"] == pytest.approx(rows[-1]["penalty"], rel=1e-4)
    for name, value in weights(graphed).items():
        torch.testing.assert_close(value, weights(plain)[name], rtol=1e-4, atol=1e-5)


@on_a_gpu
def test_a_weight_that_changes_is_no_part_of_another_weights_graph(tiny: ImageData) -> None:
    plain, graphed = RateDistortion(), RateDistortion()
    train(plain, tiny)
    train(graphed, tiny, cuda_graph=True)
    for name, value in weights(graphed).items():
        torch.testing.assert_close(value, weights(plain)[name], rtol=1e-4, atol=1e-5)


@on_a_gpu
def test_a_graph_of_draw_with_attention_and_a_resumed_one(tiny: ImageData, tmp_path: Path) -> None:
    def draw() -> Objective:
        torch.manual_seed(0)
        model = DRAW((1, 8, 8), steps=3, hidden=16, latent=4, read_size=3, write_size=3)
        return Objective(model, penalty="reconstruction", penalty_start=0.3)

    plain, graphed, resumed = draw(), draw(), draw()
    train(plain, tiny)
    train(graphed, tiny, cuda_graph=True)
    with pytest.raises(KeyboardInterrupt):
        interrupting(resumed, tiny, folder=tmp_path, cuda_graph=True)
    train(resumed, tiny, folder=tmp_path, resume=True, cuda_graph=True)
    for name, value in weights(plain).items():
        torch.testing.assert_close(weights(graphed)[name], value, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(weights(resumed)[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("gpu", "devices", "said"), [(False, 1, "there is no GPU"), (True, 2, "works in one process")])
def test_where_there_is_no_graph(
    tiny: ImageData, monkeypatch: pytest.MonkeyPatch, gpu: bool, devices: int, said: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    with pytest.raises(InputError, match=said):
        train(fresh(), tiny, cuda_graph=True, devices=devices)

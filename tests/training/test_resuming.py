"""A run goes on after anything: killed, interrupted, finished."""

import signal
from pathlib import Path

import pytest
import torch
from torch import nn

from doubleback.checkpoints import load_tensors
from doubleback.data import ImageData
from doubleback.errors import InputError
from doubleback.models import AutoencoderAdapter, ConvVAE
from doubleback.objective import Objective
from doubleback.training import STATE, loop
from tests.training.conftest import Finished
from tests.training.runs import STEPS, Stop, classifier, dying, fresh, interrupting, same, train, weights


@pytest.mark.parametrize("stop", [1, 12])
def test_a_run_that_died_goes_on_bit_for_bit(whole: Finished, tiny: ImageData, tmp_path: Path, stop: int) -> None:
    """Before its first epoch's end, or with the penalty on: it takes the very steps of one that never stopped."""
    broken, resumed = dying(fresh(), stop), fresh()
    with pytest.raises(Stop):
        train(broken, tiny, folder=tmp_path)
    with torch.no_grad():
        for parameter in resumed.parameters():
            parameter.zero_()
    history = train(resumed, tiny, folder=tmp_path, resume=True)
    assert same(weights(resumed), whole.weights)
    assert [row["step"] for row in history.rows] == [5, 10, 15, 20]
    logs = [(folder / "log.csv").read_text().splitlines()[-1].split(",") for folder in (whole.folder, tmp_path)]
    assert logs[0][5:] == logs[1][5:]


def with_dropout_and_a_mask() -> Objective:
    """A model that draws from torch's own generator, and keeps -inf in a buffer, as attention does."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Dropout(0.3), nn.Linear(16, 4))
    encoder.register_buffer("mask", torch.full((3, 3), -torch.inf).triu(1))
    decoder = nn.Sequential(nn.Linear(4, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8)))
    return Objective(AutoencoderAdapter(encoder, decoder, latent=4))


def test_dropout_draws_the_same_after_a_resume(tiny: ImageData, tmp_path: Path) -> None:
    whole, broken, resumed = (with_dropout_and_a_mask() for _ in range(3))
    state = torch.random.get_rng_state()
    train(whole, tiny)
    assert torch.equal(torch.random.get_rng_state(), state)
    with pytest.raises(Stop):
        train(dying(broken, 7), tiny, folder=tmp_path)
    torch.manual_seed(1)
    train(resumed, tiny, folder=tmp_path, resume=True)
    assert same(weights(resumed), weights(whole))


def test_a_classifier_that_died_goes_on_bit_for_bit(tiny: ImageData, tmp_path: Path) -> None:
    whole, broken, resumed = classifier(), dying(classifier(), 7), classifier(seed=9)
    rows = train(whole, tiny).rows
    with pytest.raises(Stop):
        train(broken, tiny, folder=tmp_path)
    history = train(resumed, tiny, folder=tmp_path, resume=True)
    assert same(weights(resumed), weights(whole))
    assert history.rows[-1] | {"seconds": None} == rows[-1] | {"seconds": None}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's own, about its internals
@pytest.mark.usefixtures("unchecked")  # run-time checks cannot be traced
def test_a_compiled_convolutional_run_goes_on_where_it_died(
    tiny: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And trains as the eager one does, though its weights lie channels-last."""

    def built() -> Objective:
        torch.manual_seed(0)
        model = ConvVAE((1, 8, 8), filters=(4, 8), hidden=16, latent=4)
        return Objective(model, penalty="reconstruction", estimator="perturbed")

    whole, eager = built(), built()
    train(eager, tiny)
    train(whole, tiny, compile=True)
    convolution = next(part for part in whole.modules() if isinstance(part, nn.Conv2d))
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
    step = loop._Run.step

    def dies(self: loop._Run, interrupted: bool) -> bool:
        if self.history.step == 12:
            raise Stop
        return step(self, interrupted)

    with monkeypatch.context() as patched, pytest.raises(Stop):
        patched.setattr(loop._Run, "step", dies)
        train(built(), tiny, compile=True, folder=tmp_path)
    resumed = built()
    train(resumed, tiny, compile=True, folder=tmp_path, resume=True)
    for name, value in weights(whole).items():
        assert torch.allclose(weights(resumed)[name], value, rtol=1e-4, atol=1e-5)
        assert torch.allclose(weights(eager)[name], value, rtol=1e-2, atol=1e-3)


def test_a_finished_run_resumes_to_itself_and_no_other_takes_it(tiny: ImageData, tmp_path: Path) -> None:
    done, again = fresh(), fresh()
    train(done, tiny, epochs=1, folder=tmp_path, identity="one")
    assert train(again, tiny, epochs=1, folder=tmp_path, identity="one", resume=True).step == 5
    assert same(weights(done), weights(again))
    with pytest.raises(InputError, match="does not belong"):
        train(fresh(), tiny, epochs=1, folder=tmp_path, identity="other", resume=True)


@pytest.mark.parametrize("unread", [1, 20])
def test_ctrl_c_keeps_the_step(
    whole: Finished, tiny: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unread: int
) -> None:
    """The signal arrives in the middle of a step: that step is finished and saved, and the run goes on from there.

    Where losses are read late, so is the signal: at the end of the epoch at the latest.
    """
    monkeypatch.setitem(loop.UNREAD, "cpu", unread)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        interrupting(fresh(), tiny, folder=tmp_path)
    assert signal.getsignal(signal.SIGINT) is before
    _, state = load_tensors(tmp_path / STATE, "")
    assert 0 < state["history"]["step"] < STEPS
    resumed = fresh()
    train(resumed, tiny, folder=tmp_path, resume=True)
    assert same(weights(resumed), whole.weights)

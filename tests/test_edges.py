"""Whatever a public function is handed, and however torch is set: the plain input's answer or one line, and no traces.

One table of functions, one of images, one of labels. Each function gives numbers; each kind of input either gives the
very numbers of the plain input, or is refused.
"""

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import doubleback
from doubleback.attacks import random_noise
from doubleback.data import ImageData, Split
from doubleback.errors import InputError
from doubleback.evaluation import classification_quality, evaluate, reconstruction_quality
from doubleback.models import AutoencoderAdapter
from doubleback.objective import gradient_penalty, jacobian_penalty
from doubleback.settings import Threats

pytestmark = [pytest.mark.usefixtures("unchecked"), pytest.mark.filterwarnings("ignore:the model is in training mode")]

SHAPE = (3, 6, 5)
COUNT = 12
CLASSES = 3


def eighths() -> Tensor:
    """Images whose values any float type holds exactly."""
    drawn = torch.randint(9, (COUNT, *SHAPE), generator=torch.Generator().manual_seed(0))
    return drawn.float() / 8


def places() -> Tensor:
    return torch.arange(COUNT) % CLASSES


def _trunk() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), nn.Dropout(0.5), nn.Flatten())


class Net(nn.Module):
    """A classifier with a part that depends on the mode; it does not say the shape of its images."""

    classes = tuple(range(CLASSES))

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(_trunk(), nn.Linear(120, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def autoencoder() -> AutoencoderAdapter:
    torch.manual_seed(0)
    decoder = nn.Sequential(nn.Linear(4, 90), nn.Sigmoid(), nn.Unflatten(1, SHAPE))
    return AutoencoderAdapter(nn.Sequential(_trunk(), nn.Linear(120, 4)), decoder, latent=4)


Made = Callable[[], nn.Module]
Call = Callable[[Any, Any, Any], Any]


def _data(x: Any, y: Any) -> ImageData:
    return ImageData("edges", Split(x, y), Split(x, y), Split(x, y))


def _fitted(model: Any, x: Any, y: Any) -> Any:
    before = [parameter.detach().clone() for parameter in model.parameters()]
    history = doubleback.fit(model, _data(x, y), epochs=1, batch_size=4, progress=False)
    after = [parameter.detach().clone() for parameter in model.parameters()]
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), before, strict=True):
            parameter.copy_(value)
    return after, [{**row, "seconds": 0} for row in history.rows]


def _results(found: Any) -> Any:
    return {**found.results(), "seconds": 0, "peak_memory_mb": 0, "attacks": str(found.auddc("worst_case"))}


def _attacked(attack: Any, model: Any, x: Any, y: Any) -> Any:
    del y
    return vars(attack(model, x[:6], x[6:], steps=3, coefficients=torch.tensor([0.0, 1.0])))


def _fooled(attack: Any, model: Any, x: Any, y: Any, **settings: Any) -> Any:
    return vars(attack(model, x, y, eps=[0.1], **settings))


def _mixture(model: Any, x: Any, y: Any) -> Any:
    found = doubleback.LatentMixtureClassifier.fit(model, x, y, components=1)
    return found.mixtures.state_dict(), found.classes, found.predict(x)


def _robust(model: Any, x: Any, y: Any) -> Any:
    threats = Threats(attack=("pgd",), eps=("0.1",), steps=3, queries=4)
    return doubleback.robust_accuracy({"net": model}, x, y, threats=threats, progress=False)["net"].results(["0.1"])


def _moved(model: Any, x: Any, y: Any) -> Any:
    return vars(doubleback.image_transition(model, x, y, steps=3))


def _audited(model: Any, x: Any, y: Any) -> Any:
    given: dict[str, Any] = {"pairs": 4, "coefficients": 2, "steps": 3, "progress": False}
    return _results(doubleback.audit(model, x, y, **given))


def _penalised(model: Any, x: Any, y: Any) -> Any:
    del y
    projections = torch.ones(1, COUNT, 4)
    return gradient_penalty(model, x, None)[1], jacobian_penalty(model, x, None, projections, of="latent")[1]


FUNCTIONS: dict[str, tuple[Made, Call, str]] = {
    # what is asked, how, and whether its labels are "places", "names" or not looked at
    **{
        name: (autoencoder, partial(_attacked, getattr(doubleback, name)), "none")
        for name in ("latent_attack", "output_attack", "untargeted_attack")
    },
    "fgsm": (Net, partial(_fooled, doubleback.fgsm), "places"),
    "pgd": (Net, partial(_fooled, doubleback.pgd, steps=3), "places"),
    "apgd": (Net, partial(_fooled, doubleback.apgd, steps=3), "places"),
    "square": (Net, partial(_fooled, doubleback.square, queries=4), "places"),
    "random_noise": (Net, partial(_fooled, random_noise, steps=3), "places"),
    "audit": (autoencoder, _audited, "names"),
    "fit autoencoder": (autoencoder, _fitted, "none"),
    "fit classifier": (Net, _fitted, "places"),
    "mixture": (autoencoder, _mixture, "names"),
    "robust_accuracy": (Net, _robust, "places"),
    "image_transition": (Net, _moved, "places"),
    "evaluate": (autoencoder, lambda model, x, _: evaluate(model, x), "none"),
    "reconstruction_quality": (autoencoder, lambda model, x, _: reconstruction_quality(model, x), "none"),
    "classification_quality": (Net, lambda model, x, y: classification_quality(model, Split(x, y)), "places"),
    "penalties": (autoencoder, _penalised, "none"),
}


def _inference(x: Tensor) -> Tensor:
    with torch.inference_mode():
        return x.clone()


def _read_only(x: Tensor) -> Any:
    array = x.numpy().copy()
    array.flags.writeable = False
    return array


def _with(x: Tensor, value: float) -> Tensor:
    x = x.clone()
    x[1, 0, 0, 0] = value
    return x


TAKEN: dict[str, Callable[[Tensor], Any]] = {
    "float64": Tensor.double,
    "float16": Tensor.half,
    "bfloat16": Tensor.bfloat16,
    "requires_grad": lambda x: x.clone().requires_grad_(),
    "with a graph": lambda x: x.clone().requires_grad_() * 1,
    "parameter": nn.Parameter,
    "channels-last strides": lambda x: x.contiguous(memory_format=torch.channels_last),
    "transposed strides": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "inference tensor": _inference,
    "numpy": Tensor.numpy,
    "numpy float64": lambda x: x.double().numpy(),
    "numpy float16": lambda x: x.half().numpy(),
    "numpy big-endian": lambda x: x.numpy().astype(">f4"),
    "numpy Fortran order": lambda x: np.asfortranarray(x.numpy()),
    "numpy reversed twice": lambda x: x.numpy()[::-1].copy()[::-1],
    "numpy read-only": _read_only,
}
REFUSED: dict[str, Callable[[Tensor], Any]] = {
    "channels last": lambda x: x.permute(0, 2, 3, 1),
    "numpy channels last": lambda x: x.permute(0, 2, 3, 1).numpy(),
    "one image": lambda x: x[0],
    "no channels": lambda x: x[:, 0],
    "flat": lambda x: x.flatten(1),
    "five dimensions": lambda x: x[None],
    "no images": lambda x: x[:0],
    "no pixels": lambda x: x[..., :0],
    "0 to 255": lambda x: 255 * x,
    "-1 to 1": lambda x: 2 * x - 1,
    "NaN": lambda x: _with(x, float("nan")),
    "infinite": lambda x: _with(x, float("inf")),
    "a little above": lambda x: _with(x, 1.001),
    "int64": lambda x: (255 * x).long(),
    "bool": lambda x: x > 0.5,
    "complex": lambda x: x.to(torch.complex64),
    "float8": lambda x: x.to(torch.float8_e5m2),
    "sparse": lambda x: x.to_sparse(),
    "meta": lambda x: x.to("meta"),
    "numpy int64": lambda x: (255 * x).long().numpy(),
    "numpy objects": lambda x: x.numpy().astype(object),
    "numpy words": lambda x: x.numpy().astype(str),
    "numpy masked": lambda x: np.ma.masked_array(x.numpy(), x.numpy() > 0.5),  # type: ignore[no-untyped-call]
    "list": Tensor.tolist,
    "tuple of images": tuple,
    "words": lambda _: "images" * 4,
    "None": lambda _: None,
}
LABELS_TAKEN: dict[str, Callable[[Tensor], Any]] = {
    **{str(dtype): lambda y, dtype=dtype: y.to(dtype) for dtype in (torch.int8, torch.int32, torch.uint8)},
    "whole floats": Tensor.double,
    "requires_grad": lambda y: y.float().requires_grad_(),
    "inference tensor": _inference,
    "strided": lambda y: torch.stack([y, y], 1)[:, 0],
    "numpy": Tensor.numpy,
    "numpy uint8": lambda y: y.numpy().astype(np.uint8),
    "numpy uint64": lambda y: y.numpy().astype(np.uint64),
    "numpy big-endian": lambda y: y.numpy().astype(">i4"),
    "list": Tensor.tolist,
    "tuple": lambda y: tuple(y.tolist()),
}
LABELS_REFUSED: dict[str, Callable[[Tensor], Any]] = {
    "halves": lambda y: y + 0.5,
    "one half": lambda y: torch.cat([torch.tensor([0.5]), y[1:].float()]),
    "NaN": lambda y: torch.cat([torch.tensor([float("nan")]), y[1:].float()]),
    "-1": lambda y: torch.cat([torch.tensor([-1]), y[1:]]),
    "one too few": lambda y: y[:-1],
    "one too many": lambda y: torch.cat([y, y[:1]]),
    "none": lambda y: y[:0],
    "a column": lambda y: y[:, None],
    "one-hot": lambda y: torch.nn.functional.one_hot(y),
    "complex": lambda y: y.to(torch.complex64),
    "numpy halves": lambda y: y.numpy() + 0.5,
    "numpy objects": lambda y: np.array([None, *y[1:].tolist()], dtype=object),
    "list of halves": lambda y: [0.5, *y[1:].tolist()],
    "ragged list": lambda y: [[1, 2], *y[1:].tolist()],
}
NOT_OF_PLACES: dict[str, Callable[[Tensor], Any]] = {
    "a class too many": lambda y: torch.cat([torch.tensor([CLASSES]), y[1:]]),
    "names": lambda y: [str(one) for one in y.tolist()],
}

each_function = pytest.mark.parametrize("name", FUNCTIONS)
labelled = pytest.mark.parametrize("name", [name for name, (_, _, labels) in FUNCTIONS.items() if labels != "none"])


def of_all(table: dict[str, Any]) -> Any:
    return pytest.mark.parametrize("kind", table)


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    """What each function gives for the plain input, once it is asked."""
    return {}


def answered(name: str, x: Any, y: Any) -> Any:
    make, call, _ = FUNCTIONS[name]
    return call(make().eval(), x, y)


def expected(plain: dict[str, Any], name: str) -> Any:
    if name not in plain:
        plain[name] = answered(name, eighths(), places())
    return plain[name]


def same(one: Any, other: Any) -> bool:
    """Equal to the last bit, whatever they are made of; NaN is itself."""
    if isinstance(one, Tensor):
        return (
            isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one.nan_to_num(), other.nan_to_num())
        )
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@each_function
@of_all(TAKEN)
def test_images_of_any_kind_give_the_plain_answer(plain: dict[str, Any], name: str, kind: str) -> None:
    assert same(answered(name, TAKEN[kind](eighths()), places()), expected(plain, name))


@each_function
@of_all(REFUSED)
def test_images_that_cannot_be_used_are_refused_in_a_line(name: str, kind: str) -> None:
    x = REFUSED[kind](eighths())
    if "attack" in name and (kind == "sparse" or not isinstance(x, (Tensor, np.ndarray))):
        pytest.skip("halves of it are taken before it is handed in")
    with pytest.raises(InputError) as refused:
        answered(name, x, places())
    assert len(str(refused.value).splitlines()) == 1


@each_function
def test_bytes_give_the_answer_of_their_shares_of_255(name: str) -> None:
    x = (255 * eighths()).round().byte()
    plain = answered(name, x.float() / 255, places())
    for given in (x, x.numpy(), x.contiguous(memory_format=torch.channels_last)):
        assert same(answered(name, given, places()), plain)


@labelled
@of_all(LABELS_TAKEN)
def test_labels_of_any_kind_give_the_plain_answer(plain: dict[str, Any], name: str, kind: str) -> None:
    assert same(answered(name, eighths(), LABELS_TAKEN[kind](places())), expected(plain, name))


@labelled
@of_all(LABELS_REFUSED | NOT_OF_PLACES)
def test_labels_that_cannot_be_used_are_refused_in_a_line(name: str, kind: str) -> None:
    if FUNCTIONS[name][2] == "names" and kind in NOT_OF_PLACES:
        pytest.skip("they are names, of any classes")
    if (name, kind) == ("audit", "-1"):
        pytest.skip("such an image has no label, and is in no pair")
    with pytest.raises(InputError) as refused:
        answered(name, eighths(), (LABELS_REFUSED | NOT_OF_PLACES)[kind](places()))
    assert len(str(refused.value).splitlines()) == 1


MODES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "plain": nullcontext,
}


@each_function
@of_all(MODES)
def test_it_works_in_any_mode_of_torch(plain: dict[str, Any], name: str, kind: str) -> None:
    make, call, _ = FUNCTIONS[name]
    model = make().eval()
    with MODES[kind]():
        found = call(model, eighths(), places())
    assert same(found, expected(plain, name))


@each_function
def test_a_model_in_training_mode_gives_the_answer_of_evaluation_mode(plain: dict[str, Any], name: str) -> None:
    if name.startswith("fit") or name == "penalties":
        pytest.skip("of a training")
    make, call, _ = FUNCTIONS[name]
    assert same(call(make().train(), eighths(), places()), expected(plain, name))


@contextmanager
def as_found(model: nn.Module) -> Iterator[None]:
    """See that nothing of this is changed."""

    def state() -> dict[str, Any]:
        return {
            "modes": [part.training for part in model.modules()],
            "requires_grad": [parameter.requires_grad for parameter in model.parameters()],
            "gradients": [parameter.grad for parameter in model.parameters()],
            "weights": [value.clone() for value in model.state_dict().values()],
            "random": (random.getstate(), torch.get_rng_state(), np.random.get_state()[1].tolist()),  # type: ignore[index]
            "cudnn": [
                getattr(torch.backends.cudnn, name) for name in ("enabled", "benchmark", "deterministic", "allow_tf32")
            ],
            "mkldnn": torch.backends.mkldnn.enabled,
            "float32": torch.get_float32_matmul_precision(),
            "dtype": torch.get_default_dtype(),
            "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "grad mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_anomaly_enabled()),
            "filters": list(warnings.filters),
            "numpy errors": np.geterr(),
            "hooks": [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.modules()],
        }

    before = state()
    yield
    after = state()
    assert {name: value for name, value in after.items() if not same(value, before[name])} == {}


@each_function
@pytest.mark.parametrize("training", [True, False])
def test_everything_is_left_as_it_was_found(name: str, training: bool) -> None:
    """The model half in one mode and half in the other, a parameter frozen, gradients there already."""
    make, call, labels = FUNCTIONS[name]
    model = make().train(training)
    next(part for part in model.modules() if isinstance(part, nn.Conv2d)).train(not training)
    first, *others = model.parameters()
    first.requires_grad_(False)
    for parameter in others:
        parameter.grad = torch.full_like(parameter, 0.5)
    # a dropout of the model's own draws from torch's generator
    model.apply(lambda part: setattr(part, "p", 0.0) if isinstance(part, nn.Dropout) else None)
    with as_found(model):
        call(model, eighths(), places())
    with as_found(model), pytest.raises(InputError):
        call(model, eighths() * 3, places())
    if labels != "none":
        with as_found(model), pytest.raises(InputError):
            call(model, eighths(), places() + 0.5)


@pytest.mark.parametrize("name", ["fgsm", "pgd", "apgd", "square", "latent_attack", "image_transition"])
def test_an_attack_says_that_a_model_is_in_training_mode(name: str) -> None:
    make, call, _ = FUNCTIONS[name]
    with pytest.warns(UserWarning, match="the model is in training mode; it is attacked in evaluation mode"):
        call(make().train(), eighths(), places())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call(make().eval(), eighths(), places())


def test_a_model_made_under_inference_mode_has_no_gradient() -> None:
    with torch.inference_mode():
        model = Net().eval()
    with pytest.raises(InputError, match=r"made under torch\.inference_mode"):
        doubleback.pgd(model, eighths(), places(), eps=[0.1])


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(InputError, match="no parameter that requires a gradient"):
        doubleback.fit(Net().requires_grad_(False), _data(eighths(), places()), progress=False)
    with pytest.raises(InputError, match="images are a dict; give"):
        doubleback.fit(Net(), {"images": eighths()}, progress=False)

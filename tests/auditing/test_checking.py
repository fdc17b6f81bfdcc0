"""`check` finds what would make figures wrong, says how to mend it, and is silent about models that are used well."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import doubleback
from doubleback.attacks import Attack, Damage, Output, Scores
from doubleback.auditing.checking import findings_of
from doubleback.data import ImageData
from doubleback.models import VAE, wrap
from doubleback.settings import Budget, Price, Search
from doubleback.tensors import as_unit
from doubleback.trust import Finding
from tests.conftest import blobs


def faults(findings: list[Finding]) -> set[str]:
    return {finding.name for finding in findings if not finding.ok}


class Net(nn.Module):
    """A small convolutional autoencoder over [0, 1], nearly the identity: its answers are good without training."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Conv2d(1, 4, 2, 2), nn.ConvTranspose2d(4, 1, 2, 2)
        with torch.no_grad():
            eye = torch.eye(4).view(4, 1, 2, 2)
            for layer in (self.encoder, self.decoder):
                layer.weight.copy_(eye)
                layer.bias.zero_()

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x)  # type: ignore[no-any-return]

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))


class OtherForward(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).flip(2)


class Sampling(Net):
    """Its own forward pass samples, as a VAE's does; what is audited does not."""

    def forward(self, x: Tensor) -> Tensor:
        z = self.encode(x)
        return self.decode(z + 0.1 * torch.randn_like(z))


class Momentum(Net):
    """Statistics that move in evaluation mode, too."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))

    def encode(self, x: Tensor) -> Tensor:
        self.seen.add_(x.mean().detach())
        return super().encode(x)


class Stubborn(Net):
    """A part that goes back to training mode by itself."""

    def encode(self, x: Tensor) -> Tensor:
        self.encoder.train()
        return super().encode(x)


def net_of(kind: type[Net] = Net) -> Net:
    return kind().eval()


def forward_of(f: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    net = net_of()
    return lambda x: f(net(x))


RIGHT: dict[str, Callable[[], Any]] = {
    "a module": lambda: wrap(net_of()),
    "functions": lambda: wrap(encode=net_of().encode, decode=net_of().decode),
    "forward alone": lambda: wrap(net_of().forward),
    "encode alone": lambda: wrap(encode=net_of().encode),
    "another range": lambda: wrap(lambda x: x + 0.0, input=(-1, 1)),
    "a forward pass that samples": lambda: wrap(net_of(Sampling)),
    "rounding": lambda: wrap(encode=net_of().encode, decode=lambda z: net_of().decode((20 * z).round() / 20)),
    "half precision": lambda: wrap(net_of().bfloat16()),
    "attention": lambda: wrap(Attending().eval()),
    "DataParallel, of a model with a code": lambda: wrap(nn.DataParallel(net_of())),
}


class Attending(nn.Module):
    """Fused attention, whose own kernel has no second derivative."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        nn.init.zeros_(self.attention.out_proj.weight)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.squeeze(1)
        mixed, _ = self.attention(rows, rows, rows, need_weights=False)
        return (rows + 0.01 * mixed).unsqueeze(1)


@pytest.mark.parametrize("made", RIGHT.values(), ids=RIGHT)
def test_nothing_is_found_of_a_model_that_is_used_rightly(made: Callable[[], Any], tiny: ImageData) -> None:
    started = time.perf_counter()
    findings = doubleback.check(made(), tiny)
    assert faults(findings) == set(), [str(finding) for finding in findings]
    assert time.perf_counter() - started < 10
    json.dumps([asdict(finding) for finding in findings])


def _hidden(train: bool) -> Any:
    """A model in training mode behind a function, where nothing says so."""
    norm = nn.BatchNorm2d(1, affine=False).train(train)
    box = [[[[[[norm]]]]]]  # deeper than anybody looks
    return wrap(lambda x: 0.25 * box[0][0][0][0][0][0](x).sigmoid() + 0.75 * x)


WRONG: dict[str, tuple[Callable[[], Any], str, str]] = {
    "rows that interact": (lambda: wrap(lambda x: x - 0.5 * x.mean(0)), "rows", "each image by itself"),
    "a batch of one alone": (lambda: wrap(lambda x: x.view(1, 1, 8, 8)), "rows", "batches of another size"),
    "BatchNorm in training mode, hidden": (lambda: _hidden(True), "rows", "put BatchNorm into evaluation mode"),
    "a stochastic forward": (
        lambda: wrap(lambda x: x + 0.1 * torch.randn_like(x)),
        "deterministic",
        "and not a sample",
    ),
    "dropout left on": (lambda: wrap(lambda x: nn.functional.dropout(x, 0.2)), "deterministic", "switch dropout off"),
    "noise where a gradient is asked": (
        lambda: wrap(lambda x: x + 0.1 * torch.randn_like(x) if torch.is_grad_enabled() else x),
        "deterministic",
        "with a gradient its answer differs",
    ),
    "inference mode": (
        lambda: wrap(encode=torch.inference_mode()(net_of().encode), decode=net_of().decode),
        "gradient_output",
        "the gradient fails: RuntimeError: Inference tensors cannot be saved for backward",
    ),
    "NaN": (lambda: wrap(lambda x: x / (x > 2).float() * 0), "finite", "find the layer"),
    "infinity": (lambda: wrap(lambda x: (100 * x).exp().exp()), "finite", "NaN or infinity"),
    "a range taken for another": (lambda: wrap(lambda x: 2 * x - 1), "ranges", "check input= and output="),
    "scaled twice": (
        lambda: wrap(encode=nn.Flatten(), decode=lambda z: z.view(-1, 1, 8, 8), output=lambda y: y * 0.2 + 0.5),
        "ranges",
        "with input=(0, 1) (--range 0 1): give that",
    ),
    "bytes that were not scaled": (lambda: wrap(lambda x: 255 * x), "ranges", "check input= and output="),
    "not the model's own": (lambda: wrap(net_of(OtherForward)), "reconstruction", "differs from the model's own"),
    "statistics that move": (lambda: wrap(net_of(Momentum)), "evaluation", "buffers change"),
    "training mode that comes back": (lambda: wrap(net_of(Stubborn)), "evaluation", "stays in training mode"),
    "a detached code": (
        lambda: wrap(encode=net_of().encode, decode=lambda z: net_of().decode(z.detach())),
        "gradient_output",
        "surrogate=",
    ),
    "a code without a gradient": (lambda: wrap(encode=lambda x: x.detach(), decode=lambda z: z), "gradient_latent", ""),
    "numpy inside": (
        lambda: wrap(lambda x: torch.from_numpy(np.asarray(x.detach()))),
        "gradient_output",
        "detaches",
    ),
    "an export of one batch size": (
        lambda: wrap(torch.export.export(net_of(), (torch.rand(3, 1, 8, 8),))),
        "batch",
        "for batches of 3 and no other",
    ),
    "no second derivative": (lambda: wrap(Once.apply), "double_backward", "cannot be hardened"),
    "a model that fails": (lambda: wrap(nn.Linear(3, 3)), "runs", "fails"),
}


class Once(torch.autograd.Function):
    """The identity, with a gradient that cannot be differentiated again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        del ctx
        return x.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        del ctx
        return gradients[0]


@pytest.fixture(scope="module")
def of_signs(tiny: ImageData) -> nn.Module:
    """An autoencoder that was trained on pixels in [-1, 1]."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 48), nn.Tanh(), nn.Linear(48, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8))
    )
    optimizer, y = torch.optim.Adam(net.parameters(), 1e-2), 2 * as_unit(tiny.train.images) - 1
    for _ in range(150):
        optimizer.zero_grad()
        (net(y) - y).square().mean().backward()
        optimizer.step()
    return net.eval()


@pytest.mark.parametrize(
    ("of", "given", "says"),
    [
        (lambda net: net, {}, "input=(-1, 1) (--range -1 1)"),
        (lambda net: net, {"input": (0, 255)}, "input=(-1, 1) (--range -1 1)"),
        (lambda net: net, {"input": (-1, 1)}, None),
        (
            lambda net: lambda y: (net(y) + 1) / 2,
            {},
            "input=(-1, 1), output=(0, 1) (--range -1 1 --output-range 0 1)",
        ),
        (lambda net: lambda y: (net(y) + 1) / 2, {"input": (-1, 1), "output": (0, 1)}, None),
        (lambda net: lambda y: 127.5 * (net(y / 127.5 - 1) + 1), {}, "input=(0, 255) (--range 0 255)"),
        (lambda net: lambda x: (net(2 * x - 1) + 1) / 2, {"input": (-1, 1)}, "input=(0, 1) (--range 0 1)"),
        (
            lambda net: lambda y: (net(2 * (0.3081 * y + 0.1307) - 1) + 1) / 2,
            {},
            "mean=(0.1307,), std=(0.3081,) (--mean 0.1307 --std 0.3081)",
        ),
    ],
)
def test_a_range_that_the_model_was_not_trained_on_is_found(
    of: Callable[[nn.Module], Any], given: dict[str, Any], says: str | None, of_signs: nn.Module, tiny: ImageData
) -> None:
    """The audit would be of what the model makes of pixels that it has never seen."""
    findings = {one.name: one for one in doubleback.check(wrap(of(of_signs), **given), tiny)}
    assert findings["ranges"].ok == (says is None), findings["ranges"].message
    assert says is None or findings["ranges"].message.endswith(f"with {says}: give that")


@pytest.mark.parametrize("name", ["a stochastic forward", "dropout left on"])
def test_noise_is_not_taken_for_a_batch_that_mixes(name: str, tiny: ImageData) -> None:
    assert "rows" not in faults(doubleback.check(WRONG[name][0](), tiny))


@pytest.mark.parametrize(("made", "name", "says"), WRONG.values(), ids=WRONG)
def test_every_fault_is_found_and_says_its_mend(made: Callable[[], Any], name: str, says: str, tiny: ImageData) -> None:
    started = time.perf_counter()
    findings = {finding.name: finding for finding in doubleback.check(made(), tiny)}
    assert time.perf_counter() - started < 10
    assert not findings[name].ok, {one.name: str(one) for one in findings.values()}
    assert says in findings[name].message, findings[name].message


def test_a_hidden_module_in_training_mode_is_named_and_audited_rightly(tiny: ImageData) -> None:
    norm = nn.BatchNorm2d(1)
    for _ in range(30):
        norm(tiny.train.images.float() / 255)
    right = doubleback.check(wrap(lambda x: 0.1 * norm.eval()(x) + 0.3), tiny)
    norm.train()
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    findings = doubleback.check(wrap(lambda x: 0.1 * norm(x) + 0.3), tiny)
    named = next(finding for finding in findings if finding.name == "evaluation")
    assert "BatchNorm2d" in named.message
    assert (named.ok, named.spoils) == (False, False)
    assert faults(findings) - {"evaluation"} == faults(right)
    assert norm.training
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


def test_what_spoils_figures_is_a_flag_of_the_audit(tiny: ImageData) -> None:
    for made, name in ((WRONG["rows that interact"][0], "rows"), (WRONG["scaled twice"][0], "ranges")):
        found = doubleback.audit(made(), tiny, pairs=3, coefficients=2, steps=3, progress=False)
        assert name in found.results()["flags"]
        assert f"! {name}: " in str(found)
    found = doubleback.audit(wrap(Once.apply), tiny, pairs=3, coefficients=2, steps=3, progress=False)
    assert "double_backward" not in found.results()["flags"]


def test_an_attack_that_cannot_run_is_refused_in_a_line(tiny: ImageData) -> None:
    for name, says in (("inference mode", "gradient_.*: the gradient fails"), ("a model that fails", "runs|fails")):
        with pytest.raises(doubleback.InputError, match=says) as refused:
            doubleback.audit(WRONG[name][0](), tiny, pairs=3, coefficients=2, steps=3, progress=False)
        assert "\n" not in str(refused.value)


def test_whoever_sees_answers_alone_needs_no_gradient(tiny: ImageData) -> None:
    attack = Attack(Damage(), Budget("Linf", [0.1]), knowledge=Scores(5))
    victim = WRONG["numpy inside"][0]()
    found = {finding.name: finding for finding in doubleback.check(victim, tiny, attacks=[attack])}
    assert not [name for name in found if name.startswith("gradient")]
    assert "memory for each attacked image" in found["cost"].message or "cannot be measured" in found["cost"].message


def test_a_long_audit_says_its_time_before_the_first_attack(
    tiny: ImageData, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    doubleback.audit(wrap(net_of()), tiny, pairs=3, coefficients=2, steps=3)
    assert "at most" not in capsys.readouterr().err
    monkeypatch.setattr("doubleback.auditing.plan.LONG", 0.0)
    doubleback.audit(wrap(net_of()), tiny, pairs=3, coefficients=2, steps=3)
    assert "of memory for each attacked image; 3 pairs take at most" in capsys.readouterr().err


def test_the_time_is_that_of_all_steps_of_an_audit(tiny: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    """A price for each of 4 coefficients, 16 holes, damage at 7 distortions, 2 starts of 2 steps; 101 blends."""
    monkeypatch.setattr("doubleback.auditing.cost._seconds", lambda loss, x, rows, follows: 60.0 * len(rows))
    attack = Attack(Output(), Price(3), Search(steps=2))
    (said,) = (one for one in doubleback.check(wrap(net_of()), tiny, attacks=[attack]) if one.name == "cost")
    assert said.minutes == 20 * ((4 + 16 + 7) * (2 * 2 + 1) + 101)
    usual = 20 * (7 * 5 + 101 + 0.1 * 20 * 5)
    assert said.message.endswith(f"20 pairs take about {usual:.1g} minutes, at most {said.minutes:.2g}")


class Changing(Output):
    """A goal of somebody who did not freeze it."""

    __hash__ = None  # type: ignore[assignment]


def test_a_goal_that_cannot_be_hashed_has_its_time_told(tiny: ImageData) -> None:
    attack = Attack(Changing(), Price(3), Search(steps=2))
    (said,) = (one for one in doubleback.check(wrap(net_of()), tiny, attacks=[attack]) if one.name == "cost")
    assert said.minutes > 0
    assert "cannot be measured" not in said.message


def test_images_of_every_kind_are_looked_at() -> None:
    images = blobs(16, 3).images
    batches = torch.utils.data.DataLoader(list(images.float() / 255), batch_size=8)
    for given in (images, images.numpy(), images.float() / 255, batches, blobs(16, 3)):
        assert faults(doubleback.check(wrap(net_of()), given)) == set()


def test_one_of_our_own_needs_no_wrapping(tiny: ImageData) -> None:
    torch.manual_seed(0)
    vae = VAE(tiny.image_shape, hidden=(16,), latent=3)
    names = [finding.name for finding in doubleback.check(vae, tiny, attacks=["latent", "untargeted"])]
    assert {"gradient_latent", "gradient_untargeted", "cost"} <= set(names)
    assert names[0] == "runs"


def test_all_images_go_through_twice_and_no_more(tiny: ImageData) -> None:
    """The second time shows that the answer is the same and that no buffer moves; every finding uses these two."""
    model, whole = VAE(tiny.image_shape).eval(), []
    model.encoder.register_forward_hook(lambda _, given, __: whole.append(len(given[0])))
    names = [finding.name for finding in findings_of(model, as_unit(tiny.test.images[:8]), [], 1)]
    assert {"evaluation", "deterministic", "rows", "ranges"} < set(names)
    assert whole.count(8) == 2

"""The real libraries: what is audited is what they give, followed through their rounding; nothing is found amiss."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.zoo import KINDS, SIDE, Kind, trained
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

import doubleback
from doubleback.cli.main import main
from doubleback.experiments.victims import load_victim
from doubleback.models.base import attacked
from doubleback.state import at_work

pytestmark = [
    pytest.mark.real,
    pytest.mark.filterwarnings("ignore"),  # other people's: deprecations of their own, advice to install more
]
STEPS = 40


@pytest.fixture(scope="session")
def images() -> Tensor:
    return doubleback.load_images("digits", image_size=SIDE).train.images.expand(-1, 3, -1, -1)


@pytest.fixture(scope="session")
def net_of(images: Tensor) -> Callable[..., Any]:
    known: dict[tuple[str, int], Any] = {}

    def made(name: str, steps: int = STEPS) -> Any:
        if (name, steps) not in known:
            known[name, steps] = trained(KINDS[name], images, steps=steps)
        return known[name, steps]

    return made


def unit(kind: Kind, images: Tensor, count: int = 12) -> Tensor:
    return kind.shown(images[:count].float() / 255)


@pytest.mark.parametrize("name", KINDS)
def test_it_is_checked_and_audited_with_a_line_of_glue_at_most(name: str, images: Tensor, net_of: Any) -> None:
    kind, net = KINDS[name], net_of(name)
    victim, x = kind.wrap(net), unit(kind, images)
    mode = [part.training for part in net.modules()]
    faults = {finding.name: finding.message for finding in doubleback.check(victim, x) if not finding.ok}
    assert set(faults) <= {"ranges"}, faults  # forty steps are too few for some
    found = doubleback.audit(victim, x, pairs=2, coefficients=3, steps=5, progress=False).results()
    flags = {flag for one in found["attacks"].values() for flag in one.get("flags", {})}
    assert "vanishing_gradients" not in flags
    assert [part.training for part in net.modules()] == mode


def own_reconstruction(name: str, net: Any, x: Tensor) -> Tensor:
    """As the library's documentation has it, in [0, 1]."""
    y = 2 * x - 1
    match name.split()[0]:
        case "diffusers":
            code = net.encode(y)
            z = code.latent_dist.mode() if hasattr(code, "latent_dist") else getattr(code, "latents", None)
            return (net.decode(code.latent if z is None else z).sample + 1) / 2  # type: ignore[no-any-return]
        case "CompressAI":
            padded = torch.nn.functional.pad(x, (0, -SIDE % 64, 0, -SIDE % 64), mode="replicate")
            size = padded if net.downsampling_factor == 64 else x
            return net(size)["x_hat"][..., :SIDE, :SIDE]  # type: ignore[no-any-return]
        case "pythae" if "VQVAE" in name:
            return net({"data": x}).recon_x  # type: ignore[no-any-return]
        case _:
            return net.predict(x).recon_x  # type: ignore[no-any-return]


LIBRARIES = [name for name in KINDS if name.split()[0] in ("diffusers", "CompressAI", "pythae")]


@pytest.mark.parametrize("name", LIBRARIES)
def test_what_is_scored_is_what_the_library_gives(name: str, images: Tensor, net_of: Any) -> None:
    net, x = net_of(name), unit(KINDS[name], images, 4)
    victim = doubleback.wrap(net)
    with at_work(victim), torch.no_grad():
        own = own_reconstruction(name, net, x)
        torch.testing.assert_close(victim.unclamped(x).likelihood.mean, own, rtol=0, atol=1e-6)
        torch.testing.assert_close(victim(x).likelihood.mean, own.clamp(0, 1), rtol=0, atol=1e-6)
        torch.testing.assert_close(attacked(victim)(x).likelihood.mean, own.clamp(0, 1), rtol=0, atol=1e-6)


SMOOTH = [name for name in LIBRARIES if "VQ" not in name and "CompressAI" not in name]


@pytest.mark.parametrize("name", SMOOTH)
def test_its_gradient_is_that_of_finite_differences(name: str, images: Tensor, net_of: Any) -> None:
    net = copy.deepcopy(net_of(name)).double()
    victim, x = doubleback.wrap(net), unit(KINDS[name], images, 2).double()
    step, rtol = (1e-4, 5e-3) if "DC" in name else (1e-6, 2e-4)  # DC normalises in float32, whatever it is given
    direction = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with at_work(victim):
        victim.meet(x)
        for goal in (doubleback.Latent(), doubleback.Output()):
            loss = goal.loss(victim, x, x.roll(1, 0))

            def total(step: float, loss: Any = loss) -> Tensor:
                return loss(x + step * direction, torch.arange(2), None).sum()  # type: ignore[no-any-return]

            moving = x.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(loss(moving, torch.arange(2), None).sum(), moving)
            with torch.no_grad():
                difference = (total(step) - total(-step)) / (2 * step)
            torch.testing.assert_close((gradient * direction).sum(), difference, rtol=rtol, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in KINDS if "CompressAI" in name])
def test_a_codec_has_a_rate_over_all_latents_and_real_bitstreams(name: str, images: Tensor, net_of: Any) -> None:
    net, x = net_of(name), unit(KINDS[name], images, 2)
    estimated, streamed = doubleback.wrap(net), doubleback.wrap(net, bitstreams=True)
    with at_work(estimated, streamed), torch.no_grad():
        estimate, stream = estimated(x), streamed(x)
        bits = sum(-part.log2().flatten(1).sum(1) for part in net(estimated._to_model(x))["likelihoods"].values())
        torch.testing.assert_close(estimate.rate, bits / SIDE**2)
        assert (stream.rate > 0.5 * estimate.rate).all()
        if "Cheng" not in name:  # of which the estimate rounds about 0 and the bitstream about the predicted mean
            torch.testing.assert_close(stream.likelihood.mean, estimate.likelihood.mean, rtol=0, atol=0.02)


def test_an_attack_on_a_codec_says_what_it_costs_in_bits(images: Tensor, net_of: Any) -> None:
    name = "CompressAI FactorizedPrior"
    victim, x = doubleback.wrap(net_of(name, 250)), unit(KINDS[name], images)
    found = doubleback.audit(victim, x, pairs=4, coefficients=3, steps=10, progress=False)
    results = found.results()
    assert results["pairs"]["used"] > 0
    assert len(results["attacks"]["output"]["rate"]) == 4
    assert results["rate"] > 0


def bits_by_hand(net: Any, x: Tensor) -> list[float]:
    """Bits per pixel of each image, padded as the codec needs it, by the library's own entropy coder."""
    padded = torch.nn.functional.pad(x, (0, -SIDE % 64, 0, -SIDE % 64), mode="replicate")
    size = padded if net.downsampling_factor == 64 else x
    packed = [net.compress(one[None])["strings"] for one in size]
    return [8 * sum(len(part[0]) for part in strings) / SIDE**2 for strings in packed]


@pytest.mark.parametrize("name", ["CompressAI FactorizedPrior", "CompressAI ScaleHyperprior"])
def test_the_rate_of_an_attacked_codec_is_that_of_its_real_bitstream(name: str, images: Tensor, net_of: Any) -> None:
    """The attack follows the estimate; what is said are bits of files, more than noise of its size makes of them."""
    net = copy.deepcopy(net_of(name, 250))
    victim, x = doubleback.wrap(net, bitstreams=True), unit(KINDS[name], images)
    attack = doubleback.Attack(doubleback.Rate(), doubleback.Budget("Linf", ["8/255"]), doubleback.Search(10))
    own = [(0, 5), (1, 6), (2, 7), (3, 8)]
    found = doubleback.audit(victim, x, pairs=own, attacks=[attack], progress=False)
    at = found.results()["attacks"]["rate"]["budgets"]["Linf"]["8/255"]
    x_adv = attack(victim, x[:4], x[5:9]).x_adv[:, 0]
    net.update(force=True)
    before, after = bits_by_hand(net, x[:4]), bits_by_hand(net, x_adv)
    assert at["rate_before"]["mean"] == pytest.approx(sum(before) / 4)
    assert at["rate"]["mean"] == pytest.approx(sum(after) / 4)
    signs = torch.randn(x[:4].shape, generator=torch.Generator().manual_seed(0)).sign()
    assert sum(after) > sum(bits_by_hand(net, (x[:4] + 8 / 255 * signs).clamp(0, 1)))
    assert sum(after) > sum(before)
    assert f"bits per pixel, Linf 8/255: {sum(before) / 4:.3g} before, {sum(after) / 4:.3g}" in str(found)


def test_a_bitstream_is_that_of_the_weights_as_they_are(images: Tensor, net_of: Any) -> None:
    """Tables that were made before the weights changed would code every image at the wrong length."""
    name = "CompressAI FactorizedPrior"
    net, other = copy.deepcopy(net_of(name)), net_of(name, 250)
    net.update()
    victim, x = doubleback.wrap(net, bitstreams=True), unit(KINDS[name], images, 3)
    with at_work(victim), torch.no_grad():
        early = victim(x).rate
        for mine, theirs in zip(net.parameters(), other.parameters(), strict=True):
            mine.copy_(theirs)
        late = victim(x).rate
    fresh = copy.deepcopy(other)
    fresh.update(force=True)
    assert late.tolist() == pytest.approx(bits_by_hand(fresh, x))
    assert (early != late).all()


@pytest.mark.parametrize("name", ["diffusers VQModel", "pythae VQVAE"])
def test_a_quantised_code_says_which_tokens_change(name: str, images: Tensor, net_of: Any) -> None:
    net, x = net_of(name, 250), unit(KINDS[name], images)
    victim = doubleback.wrap(net)
    with at_work(victim), torch.no_grad():
        tokens = victim(x).tokens
    assert tokens is not None
    assert len(tokens) == len(x)
    found = doubleback.audit(victim, x, pairs=4, coefficients=4, steps=20, progress=False)
    used = ~found.flagged
    assert used.any()
    assert (found.points["output"].further["tokens_changed"][used] <= 1).all()
    assert found.points["blend"].further["tokens_changed"][used, 0] == pytest.approx(0)


def test_vitmae_sees_every_patch_whatever_its_masking(images: Tensor, net_of: Any) -> None:
    net, x = net_of("transformers ViTMAE"), unit(KINDS["transformers ViTMAE"], images, 4)
    ratio = net.config.mask_ratio
    victim = doubleback.wrap(net)
    with at_work(victim), torch.no_grad():
        assert torch.equal(victim(x).likelihood.mean, victim(x).likelihood.mean)
    assert net.config.mask_ratio == ratio > 0


@pytest.fixture
def folders(tmp_path: Path, net_of: Any) -> Path:
    net_of("diffusers AutoencoderKL").save_pretrained(tmp_path / "kl")
    net_of("diffusers VQModel").save_pretrained(tmp_path / "pipeline" / "vae")
    (tmp_path / "pipeline" / "model_index.json").write_text("{}")
    net_of("transformers ViTMAE").save_pretrained(tmp_path / "mae")
    net_of("pythae VAE").save(str(tmp_path / "vae"))
    codec = net_of("CompressAI ScaleHyperprior")
    torch.save(codec.state_dict(), tmp_path / "codec.pt")
    stood = "from benchmarks.standins import stood_in\nwith stood_in():\n"
    stood += "    from compressai.models import ScaleHyperprior\n"
    (tmp_path / "codec.py").write_text(stood)
    (tmp_path / "images").mkdir()
    for i in range(16):
        pixels = np.random.default_rng(i).integers(0, 255, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((SIDE, SIDE)).save(tmp_path / "images" / f"{i}.png")
    return tmp_path


@pytest.mark.parametrize("words", ["kl", "pipeline", "mae", "vae", "codec.py:ScaleHyperprior --weights codec.pt"])
def test_the_command_line_takes_them_without_python(
    words: str, folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folders)
    common = [*words.split(), "--data", "images"]
    assert main(["check", *common, "--json", "found.json"]) == 0
    found = {one["name"]: one for one in json.loads((folders / "found.json").read_text())["findings"]}
    assert found["runs"]["ok"]
    few = ["--pairs", "2", "--coefficients", "2", "--steps", "2"]
    assert main(["audit", *common, "--output", "audits", *few]) == 0
    assert main(["report", "audits"]) == 0
    capsys.readouterr()


def test_the_loaded_model_is_the_saved_one(folders: Path, net_of: Any, images: Tensor) -> None:
    x = unit(KINDS["diffusers AutoencoderKL"], images, 2)
    loaded, own = load_victim(folders / "kl").autoencoder, doubleback.wrap(net_of("diffusers AutoencoderKL"))
    with at_work(loaded, own), torch.no_grad():
        assert torch.equal(loaded(x).likelihood.mean, own(x).likelihood.mean)


def test_half_a_checkpoint_is_refused(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder, file in (("kl", "diffusion_pytorch_model.safetensors"), ("mae", "model.safetensors")):
        path = folders / folder / file
        whole = load_file(path)
        save_file(dict(list(whole.items())[: len(whole) // 2]), path, {"format": "pt"})
        line = ["audit", str(folders / folder), "--data", str(folders / "images"), "--output", str(folders / "out")]
        assert main(line) == 2
        said = capsys.readouterr().err.strip().splitlines()
        assert said[-1].startswith("doubleback: ")
        assert not (folders / "out").exists()


def test_a_bound_on_memory_changes_no_figure_at_256_pixels(net_of: Any, images: Tensor) -> None:
    net = net_of("diffusers AutoencoderKL", 250)
    x = torch.nn.functional.interpolate(images[:2].float() / 255, size=256, mode="bilinear")
    settings: dict[str, Any] = {"pairs": [(0, 1)], "coefficients": 2, "steps": 1, "progress": False}
    bounded, plenty = (doubleback.audit(doubleback.wrap(net), x, memory=size, **settings) for size in ("600MB", "8GB"))
    assert not plenty.flagged.any()
    for name in ("latent", "output"):
        for what in ("distortion", "adversarial_distance"):
            one, other = (getattr(found.points[name], what) for found in (bounded, plenty))
            assert one == pytest.approx(other, abs=1e-3)

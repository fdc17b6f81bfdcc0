"""What a user names: a model that can be attacked, or one line that says why not, with nothing written."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from doubleback.cli.main import main
from doubleback.errors import InputError
from doubleback.experiments.attacking import attack
from doubleback.experiments.auditing import look
from doubleback.experiments.victims import Stranger, load_victim, named_as
from doubleback.settings import Price, Search, Wrapping
from doubleback.settings.commands import Attack, Check
from tests.experiments.conftest import snapshot

FACTORIES = """
import numpy, torch
from torch import nn

torch.manual_seed(3)

class Net(nn.Module):
    def __init__(self, size=8):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(size * size, 6))
        self.decoder = nn.Sequential(nn.Linear(6, size * size), nn.Sigmoid(), nn.Unflatten(1, (1, size, size)))
    def forward(self, x):
        return self.decoder(self.encoder(x))

class Interacting(Net):
    def forward(self, x):
        return super().forward(x - x.mean(0))

def make(): return Net()
def raises(): raise RuntimeError("no such thing\\nin two lines")
def needs(size): return Net(size)
def number(): return 3
def nothing(): return None
def array(): return numpy.zeros(3)
def transposed():
    net = Net()
    return nn.Sequential(net, nn.Flatten(), nn.Unflatten(1, (8, 8, 1)))
def other_size(): return Net(9)
def three_channels(): return nn.Conv2d(3, 3, 1)
def bytes_out():
    class Bytes(nn.Module):
        def forward(self, x): return (255 * x).byte()
    return Bytes()
def triple():
    net = Net()
    net.encode = lambda x: (net.encoder(x),) * 3
    net.decode = net.decoder
    return net
def not_finite():
    net = Net()
    with torch.no_grad(): net.encoder[1].weight.fill_(float("nan"))
    return net
model = Net()
constant = 7
"""


class Twin(nn.Module):
    """The net of the factories: TorchScript knows no module of a file by its path."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 6))
        self.decoder = nn.Sequential(nn.Linear(6, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8)))

    def forward(self, x: torch.Tensor) -> Any:
        return self.decoder(self.encoder(x))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with models, weights and images of 8x8 pixels, in which the user is."""
    (tmp_path / "nets.py").write_text(FACTORIES)
    (tmp_path / "images").mkdir()
    for i in range(24):
        pixels = np.random.default_rng(i).integers(0, 255, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def weights(**changes: Any) -> dict[str, torch.Tensor]:
    net: Any = load_victim("nets.py:make").autoencoder
    (own,) = net.parts.modules
    return {name: value.clone() for name, value in own.state_dict().items()} | changes


def test_a_factory_a_class_and_a_model(home: Path) -> None:
    del home
    for name in ("make", "Net", "model"):
        victim = load_victim(f"nets.py:{name}")
        assert isinstance(victim, Stranger)
        assert not victim.autoencoder.training
    assert named_as("nets.py:make") == "nets-make"
    same, other = load_victim("nets.py:model"), load_victim("nets.py:Net")
    assert same.weights != other.weights


@pytest.mark.parametrize("form", ["safetensors", "state_dict", "checkpoint", "ddp", "script"])
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_weights_of_every_form(home: Path, form: str) -> None:
    state = weights()
    file = home / ("w.safetensors" if form == "safetensors" else "w.pt")
    match form:
        case "safetensors":
            save_file(state, file)
        case "state_dict":
            torch.save(state, file)
        case "checkpoint":
            torch.save({"epoch": 3, "state_dict": state}, file)
        case "ddp":
            torch.save({f"module.{name}": value for name, value in state.items()}, file)
        case "script":
            net = Twin()
            net.load_state_dict(state)
            torch.jit.trace(net, torch.rand(1, 1, 8, 8)).save(str(file))
    loaded: Any = load_victim("nets.py:make", Wrapping(weights=file)).autoencoder.parts.modules[0]
    assert all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())


@pytest.mark.parametrize(("place", "known"), [("weights", True), ("elsewhere", False)])
def test_weights_of_a_hardened_folder_say_how_they_were_made(home: Path, place: str, known: bool) -> None:
    file = home / "hardened" / place / "w.safetensors"
    file.parent.mkdir(parents=True)
    save_file(weights(), file)
    (home / "hardened" / "config.json").write_text(json.dumps({"harden": {"penalty": "spectral"}}))
    victim = load_victim("nets.py:make", Wrapping(weights=file))
    assert isinstance(victim, Stranger)
    assert victim.hardened == ({"penalty": "spectral"} if known else None)


def test_a_hardened_folder_whose_weights_are_a_run_is_refused_in_a_line(home: Path, plain: Path) -> None:
    shutil.copytree(plain, home / "hardened" / "weights")
    (home / "hardened" / "config.json").write_text(json.dumps({"harden": {"penalty": "spectral"}}))
    with pytest.raises(InputError, match="is a run, not a model in its library's layout; give that run"):
        load_victim(home / "hardened")


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_scripts_and_exported_programs_are_files(home: Path) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Unflatten(1, (1, 8, 8))).eval()
    torch.jit.trace(net, torch.rand(2, 1, 8, 8)).save(str(home / "net.pt"))
    torch.export.save(torch.export.export(net, (torch.rand(4, 1, 8, 8),)), home / "net.pt2")
    x = torch.rand(3, 1, 8, 8)
    for file in ("net.pt", "net.pt2"):
        with torch.no_grad():
            torch.testing.assert_close(load_victim(file).autoencoder(x).likelihood.mean, net(x).clamp(0, 1))


def test_a_stranger_is_checked_audited_attacked_and_reported(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["nets.py:Interacting", "--data", "images"]
    assert main(["check", *common, "--json", "findings.json"]) == 0
    stored = json.loads((home / "findings.json").read_text())["findings"]
    assert {"name", "ok", "message"} <= stored[0].keys()
    assert "reconstruction" in [finding["name"] for finding in stored]
    few = ["--pairs", "2", "--coefficients", "2", "--steps", "3"]
    assert main(["audit", "nets.py:model", "--data", "images", "--output", "audits", *few]) == 0
    audit = home / "audits" / "nets-model"
    assert {"attacks", "ceiling", "checks", "flags", "pairs"} <= json.loads((audit / "results.json").read_text()).keys()
    assert main(["report", "audits"]) == 0
    line = ["attack", "nets.py:model", "images/1.png", "images/2.png", "--coefficients", "3", "--steps", "5"]
    assert main([*line, "--coefficient", "0.1", "--output", "attacked"]) == 0
    assert "adversarial distance" in capsys.readouterr().out
    made = home / "attacked"
    assert {"adversarial-latent.png", "reconstruction-output.png", "curves.npz", "report.html"} <= set(snapshot(made))


def test_an_attack_on_ones_own_pair_is_scored_as_its_file_is_read(home: Path) -> None:
    ends = home / "images" / "0.png", home / "images" / "1.png"
    asked = Attack(Path("nets.py:model"), *ends, ("output",), 0.0, Price(2), Search(20), output=home / "out")
    (said,) = attack(asked, ())
    kept = json.loads((home / "out" / "results.json").read_text())["kept"]["output"]
    assert f"{kept['distortion']:.3f}" in said
    source, target, adversarial = (
        np.asarray(Image.open(path), dtype=float) for path in (*ends, home / "out" / "adversarial-output.png")
    )
    u = np.linalg.norm(adversarial - source) / np.linalg.norm(target - source)
    assert kept["distortion"] == pytest.approx(u, rel=1e-5)
    assert attack(asked, ()) == [said]  # finished: nothing is attacked again


def test_wrapping_says_how_a_stranger_is_fed(home: Path) -> None:
    del home
    victim = load_victim("nets.py:make", Wrapping(None, (-1.0, 1.0), (0.0, 1.0), (0.5,), (0.5,))).autoencoder
    assert (victim.parts.input.low, victim.parts.output.high, victim.parts.mean) == (-1.0, 1.0, (0.5,))
    (runs, *_) = look(Check(Path("nets.py:make"), "images", wrapping=Wrapping(None, (-1.0, 1.0))))
    assert runs.ok


PICKLE = b"\x80\x04\x95\x1e" + bytes(7) + b"\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x04true\x94\x85\x94R\x94."
BAD: dict[str, tuple[str, str]] = {
    "no such folder": ("nowhere", "is not a folder, a file or module:factory"),
    "a name too long": ("x" * 300, "is not a folder, a file or module:factory"),
    "an empty folder": ("empty", "config.json does not exist"),
    "no such file of code": ("other.py:make", "other.py does not exist"),
    "no such module": ("no_such_module:make", "cannot be imported"),
    "no such factory": ("nets.py:nobody", "has no 'nobody'"),
    "no name": ("nets.py:", "names no object"),
    "a file that does not compile": ("broken.py:make", "cannot be imported"),
    "a file that raises": ("raising.py:make", "cannot be imported"),
    "a factory that raises": ("nets.py:raises", "raises RuntimeError when it is called .no such thing"),
    "a factory with arguments": ("nets.py:needs", "takes no arguments"),
    "a factory of a number": ("nets.py:number", "gives a int"),
    "a factory of nothing": ("nets.py:nothing", "gives a NoneType"),
    "a factory of an array": ("nets.py:array", "gives a ndarray"),
    "a constant": ("nets.py:constant", "'int' object is not callable"),
    "transposed channels": ("nets.py:transposed", "no tensor of the images' shape"),
    "another size": ("nets.py:other_size", "the model fails on an image of shape"),
    "another number of channels": ("nets.py:three_channels", "the model fails on an image of shape"),
    "bytes": ("nets.py:bytes_out", "must be of floats"),
    "three codes": ("nets.py:triple", "ambiguous or unknown"),
    "NaN": ("nets.py:not_finite", "not finite"),
    "half a checkpoint": ("nets.py:make --weights half.safetensors", "2 are missing"),
    "more than a checkpoint": ("nets.py:make --weights more.safetensors", "1 are of no use"),
    "weights of another shape": ("nets.py:make --weights shape.safetensors", "size mismatch"),
    "a pickle": ("nets.py:make --weights evil.pt", "no weights that can be read safely"),
    "a pickled model": ("nets.py:make --weights whole.pt", "no weights that can be read safely"),
    "no such weights": ("nets.py:make --weights none.safetensors", "is not a file"),
    "weights that are a folder": ("nets.py:make --weights images", "is not a file"),
    "cut weights": ("nets.py:make --weights cut.safetensors", "no weights that can be read safely"),
    "weights that are text": ("nets.py:make --weights nets.py", "no weights that can be read safely"),
    "weights without tensors": ("nets.py:make --weights none.pt", "holds no state_dict"),
    "a file that is no model": (
        "nets.py",
        r"nets.py is code; name the function in it that makes the model, as .*nets.py:make",
    ),
    "an image": ("images/0.png", "neither TorchScript nor an exported program"),
    "a program that is none": ("bad.pt2", "neither TorchScript nor an exported program"),
    "weights for a script": ("net.pt --weights half.safetensors", "--weights has no effect"),
    "an empty range": ("nets.py:make --range 1 0", "low below high"),
    "a range that is not finite": ("nets.py:make --range 0 inf", "low below high"),
    "a standard deviation of 0": ("nets.py:make --std 0", "positive std"),
    "as many means as channels": ("nets.py:make --mean 0.1 0.2 0.3", "mean or std has 3 numbers"),
    "no data": ("nets.py:make --data=", "data"),
    "a class that nobody has": ("strange", "NoSuchModel"),
    "a configuration without a class": ("classless", "names no class"),
    "a hub id without an owner": ("hub:name", "give hub:owner/name"),
    "a hub that cannot be reached": ("hub:owner/name", "cannot be fetched"),
    "pythae with pickled networks": ("pickled", "as pickles, which are not read"),
}


@pytest.fixture
def bad(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for folder, config in (("strange", {"_class_name": "NoSuchModel"}), ("classless", {"a": 1})):
        (home / folder).mkdir()
        (home / folder / "config.json").write_text(json.dumps(config))
    (home / "empty").mkdir()
    (home / "pickled").mkdir()
    (home / "pickled" / "model_config.json").write_text('{"name": "VAEConfig"}')
    (home / "pickled" / "encoder.pkl").write_bytes(PICKLE)
    (home / "broken.py").write_text("def make(:")
    (home / "raising.py").write_text("raise ValueError('not today')")
    state = weights()
    save_file({name: value for name, value in state.items() if name.startswith("encoder")}, home / "half.safetensors")
    save_file(state | {"more": torch.zeros(1)}, home / "more.safetensors")
    save_file(state | {"encoder.1.bias": torch.zeros(3)}, home / "shape.safetensors")
    (home / "cut.safetensors").write_bytes((home / "more.safetensors").read_bytes()[:100])
    (home / "evil.pt").write_bytes(PICKLE)
    torch.save(nn.Linear(2, 2), home / "whole.pt")
    torch.save({"epoch": 3}, home / "none.pt")
    (home / "bad.pt2").write_bytes(b"no program")
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Unflatten(1, (1, 8, 8))).eval()
    torch.jit.trace(net, torch.rand(2, 1, 8, 8)).save(str(home / "net.pt"))
    return home


@pytest.mark.parametrize(("words", "says"), BAD.values(), ids=BAD)
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_bad_victim_is_refused_in_a_line_and_nothing_is_written(
    bad: Path, words: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "NoSuchModel" in says:
        pytest.importorskip("diffusers")
    before = snapshot(bad)
    few = ["--pairs", "2", "--coefficients", "2", "--steps", "2"]
    data = [] if "--data" in words else ["--data", "images"]
    status = main(["audit", *words.split(), *data, "--output", "audits", *few])
    said = capsys.readouterr().err
    assert status == 2, said
    assert len(said.strip().splitlines()) == 1, said
    assert re.search(says, said), said
    assert snapshot(bad) == before

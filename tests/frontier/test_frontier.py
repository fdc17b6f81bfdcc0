"""`frontier`: its rows, what they say, what is kept and what is refused; the page and its sentences."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import doubleback
from doubleback.cli.main import main
from doubleback.data import load_images
from doubleback.errors import InputError
from doubleback.evaluation import reconstruction_quality
from doubleback.experiments.runs import load_run
from doubleback.folders import locked
from doubleback.frontier import frontier
from doubleback.frontier.contenders import CONTENDERS, AtTestTime, Longer, Proven, Trained
from doubleback.frontier.page import sentences, write_page
from doubleback.frontier.row import PLAIN, ROW, Row, dominated, read_row
from doubleback.imports import named_object
from doubleback.settings import Loop, Wrapping
from doubleback.settings.commands import Frontier
from tests.experiments.conftest import plain, snapshot  # noqa: F401  # fixtures

SOME = ("noise", "longer", "quantize", "lipschitz")


def asked(victim: Path, output: Path, **changes: object) -> Frontier:
    small = Frontier(victim, output, ("0%", "30%"), SOME, 3, 4, 10, loop=Loop(epochs=2, batch_size=20))
    return replace(small, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def done(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:  # noqa: F811
    output = tmp_path_factory.mktemp("frontier") / "out"
    return output, frontier(asked(plain, output))


def test_there_is_a_row_for_every_defence_and_budget(done: tuple[Path, list[Row]]) -> None:
    output, rows = done
    every = {(row.defence, row.within) for row in rows}
    trained = {(name, share) for name in ("noise", "quantize") for share in (0.0, 0.3)} | {("longer", None)}
    assert every == {(PLAIN, None), ("lipschitz:1", None), ("lipschitz:2", None)} | trained
    assert all(json.loads((output / f"{name}" / ROW).read_text()) for name in ("plain", "noise-30%", "lipschitz-2"))


def test_rows_keep_to_the_budget_and_say_what_was_measured(done: tuple[Path, list[Row]], plain: Path) -> None:  # noqa: F811
    output, rows = done
    first = rows[0]
    run = load_run(plain)
    wanted = reconstruction_quality(run.model, run.images().test.images)["reconstruction_l2"]
    assert first.reconstruction_l2 == pytest.approx(wanted)
    assert len(first.worst_case) == len(first.damage) == 3
    assert {row.version for row in rows if row.measured} == {doubleback.__version__}
    for row in rows:
        if row.defence == "noise" and row.measured:
            results = json.loads((output / f"noise-{100 * row.within:g}%" / "model" / "results.json").read_text())
            start, end = (results["harden"][when]["reconstruction_l2"] for when in ("start", "end"))
            assert end <= (1 + row.within) * start
            assert row.command[:2] == ["doubleback", "harden"]
        if row.defence.startswith("lipschitz"):
            pairs = zip(row.worst_case, row.certified, strict=True)
            assert all(worst >= proven - 1e-4 for worst, proven in pairs if worst is not None and proven is not None)
    loosest = next(row for row in rows if row.defence == "quantize" and row.within == 0.3)
    tightest = next(row for row in rows if row.defence == "quantize" and row.within == 0.0)
    bits = [int(row.setting.split(":")[1]) for row in (loosest, tightest) if row.setting]
    assert bits == sorted(bits)


def test_what_is_there_is_kept_and_what_is_missing_is_made(done: tuple[Path, list[Row]], plain: Path) -> None:  # noqa: F811
    output, rows = done
    before = snapshot(output)
    assert frontier(asked(plain, output)) == rows
    assert snapshot(output) == before
    (output / "quantize-30%" / ROW).unlink()
    again = frontier(asked(plain, output))
    of = [next(row for row in some if (row.defence, row.within) == ("quantize", 0.3)) for some in (rows, again)]
    assert of[0] == of[1]


def test_a_row_that_somebody_holds_is_left_to_them(
    plain: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = asked(plain, tmp_path / "out", defences=("jpeg",), within=("30%",))
    with locked(tmp_path / "out" / "jpeg-30%"):
        rows = frontier(command)
    assert [row.defence for row in rows] == [PLAIN]
    assert "is being written by" in capsys.readouterr().err
    assert [row.defence for row in frontier(command)] == [PLAIN, "jpeg"]


def test_the_lock_of_a_killed_process_goes_where_its_row_is_there(
    done: tuple[Path, list[Row]],
    plain: Path,  # noqa: F811
) -> None:
    output, rows = done
    (output / "quantize-30%" / ".lock").write_text("process 1, which was killed")
    assert frontier(asked(plain, output)) == rows
    assert not list(output.rglob(".lock"))


CODE = """
import torch
from torch import nn

class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.w = nn.Parameter(torch.randn(16, 64) / 8)
        self.b = nn.Parameter(torch.zeros(8, 8).t())
        self.again = self.w

    def encode(self, x):
        return torch.tanh(x.flatten(1) @ self.w.t())

    def decode(self, z):
        return torch.sigmoid((z @ self.again).view(-1, 1, 8, 8) + self.b)
"""


def test_a_model_that_code_makes_has_its_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With tied weights, and one that does not lie in a row. What does not suit it is left out with a line."""
    (tmp_path / "mine.py").write_text(CODE)
    net = named_object(f"{tmp_path / 'mine.py'}:Tied")()
    x = load_images("digits", image_size=8).train.images.float() / 255
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for step in range(300):
        batch = x[64 * (step % 16) :][:64]
        loss = (net.decode(net.encode(batch)) - batch).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    save_file(
        {name: one.detach().clone().contiguous() for name, one in net.state_dict().items()}, tmp_path / "w.safetensors"
    )
    asked_for = ("spectral", "longer", "hmc", "jpeg")
    victim, wrapping = Path(f"{tmp_path / 'mine.py'}:Tied"), Wrapping(weights=tmp_path / "w.safetensors")
    command = asked(victim, tmp_path / "out", defences=asked_for, within=("100%",))
    rows = frontier(replace(command, data="digits", image_size=8, wrapping=wrapping))
    assert {row.defence for row in rows if row.measured} >= {PLAIN, "spectral", "longer"}
    assert "hmc" not in {row.defence for row in rows}
    assert "hmc is left out: hmc needs a variational autoencoder" in capsys.readouterr().err
    weights = load_file(tmp_path / "out" / "spectral-100%" / "model" / "weights" / "model.safetensors")
    assert torch.equal(weights["w"], weights["again"])
    plain_row, trained = (next(row for row in rows if row.defence == name) for name in (PLAIN, "spectral"))
    assert trained.worst_case != plain_row.worst_case


@pytest.mark.parametrize("name", ["thesis.txt", "frontier.html"])
def test_a_folder_of_somebody_else_is_refused_at_once(name: str, plain: Path, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    with pytest.raises(InputError, match=r"give another --output"):
        frontier(asked(plain, tmp_path / "out"))
    assert [one.name for one in (tmp_path / "out").iterdir()] == [name]


def test_a_folder_that_cannot_be_written_is_a_line(plain: Path, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot (read|write)"):
        frontier(asked(plain, tmp_path / "file" / "out"))


def test_the_plain_row_is_waited_for(plain: Path, tmp_path: Path) -> None:  # noqa: F811
    with locked(tmp_path / "out" / PLAIN), pytest.raises(InputError, match="measured by another process"):
        frontier(asked(plain, tmp_path / "out", defences=("jpeg",), within=("30%",)))


def test_a_training_that_diverges_is_a_row(plain: Path, tmp_path: Path) -> None:  # noqa: F811
    wild = Loop(epochs=2, batch_size=20, learning_rate=1e30)
    named = ("lipschitz", "noise", "longer")
    rows = frontier(asked(plain, tmp_path / "out", defences=named, within=("0%",), loop=wild))
    assert {row.defence for row in rows[1:]} == {"lipschitz:1", "lipschitz:2", "noise", "longer"}
    assert {row.setting for row in rows[1:]} == {"diverged"}


def test_another_frontiers_rows_are_not_taken_for_ours(done: tuple[Path, list[Row]], plain: Path) -> None:  # noqa: F811
    output, _ = done
    with pytest.raises(InputError, match="other settings; give another --output"):
        frontier(asked(plain, output, pairs=2))


def test_a_damaged_row_is_refused(done: tuple[Path, list[Row]], tmp_path: Path) -> None:
    del done
    (tmp_path / ROW).write_text('{"schema": 1, "defence": "x"}')
    with pytest.raises(InputError, match="is not a row of a frontier"):
        read_row(tmp_path)


def test_the_page_has_every_row_and_needs_no_network(done: tuple[Path, list[Row]]) -> None:
    output, rows = done
    page = write_page(output, rows, "doubleback frontier runs/plain").read_text()
    assert page.count('<tr><th scope="row">') == len(rows)
    assert not re.search(r"<script|src=\"http|href=\"http", page)
    for row in rows:
        assert row.defence in page
    assert [one in page for one in ("Worst-case AUDDC", "Damage")] == [True, True]


def test_a_page_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "frontier.html").write_text("<title>mine</title>")
    with pytest.raises(InputError, match="is not a page that doubleback has written"):
        write_page(tmp_path, [made(PLAIN, None, 2.0, 0.3, 1.0)], "doubleback frontier")
    assert (tmp_path / "frontier.html").read_text() == "<title>mine</title>"


def made(name: str, within: float | None, l2: float, worst: float, damage: float) -> Row:
    return Row(name, within, "s", "i", l2, [worst] * 4, [damage] * 4)


def test_the_sentence_names_the_best_of_each_budget_and_its_price() -> None:
    rows = [made(PLAIN, None, 2.0, 0.3, 1.0), made("a", 0.02, 2.04, 0.4, 0.9), made("b", 0.02, 2.02, 0.35, 0.5)]
    (said,) = sentences(rows)
    assert "Within 2%, a (s; +2.0% on test images) is the hardest to steer: AUDDC 0.300 becomes 0.400 (+0.100" in said
    assert "B (s; +1.0% on test images) is the hardest to break: AUDDC 0.300 becomes 0.350 (+0.050" in said
    assert "damage 1.00 becomes 0.50 (-0.500" in said.partition("to break")[2]
    assert sentences([rows[0], replace(rows[1], reconstruction_l2=None)]) == ["Within 2% no defence was found."]


def test_rows_are_compared_over_the_pairs_that_all_can_use() -> None:
    """A defence that loses the hard pairs is no better for it; training longer has no budget, and no sentence."""
    first = Row(PLAIN, None, "s", "i", 2.0, [0.1, 0.1, 0.3, 0.3], [1.0] * 4)
    good = Row("good", 0.02, "s", "i", 2.0, [0.2, 0.2, 0.4, 0.4], [0.9] * 4)
    lost = Row("lost", 0.02, "s", "i", 2.0, [None, None, 0.35, 0.35], [None, None, 0.95, 0.95])
    longer = Row("longer", 0.02, "s", "i", 1.0, [0.9] * 4, [0.1] * 4)
    (said,) = sentences([first, good, lost, longer])
    assert "Within 2%, good (s; +0.0% on test images) is the hardest to steer and to break" in said
    assert "AUDDC 0.200 becomes 0.300 (+0.100" in said
    assert dominated(lost, [first, good, lost], "worst_case", higher=True)
    assert not dominated(good, [first, good, lost], "worst_case", higher=True)


def test_a_row_is_dominated_by_what_is_as_good_in_one_and_better_in_the_other() -> None:
    rows = [made("a", None, 2.0, 0.3, 1.0), made("b", None, 2.0, 0.4, 1.0), made("c", None, 3.0, 0.5, 2.0)]
    assert [dominated(row, rows, "worst_case", higher=True) for row in rows] == [True, False, False]
    assert [dominated(row, rows, "damage", higher=False) for row in rows] == [False, False, True]


def test_every_contender_can_be_built() -> None:
    kinds = [Trained, Longer, AtTestTime, Proven]
    assert {type(one) for one in CONTENDERS.values()} == set(kinds)
    assert len(CONTENDERS) >= 8
    for one in CONTENDERS.values():
        if isinstance(one, AtTestTime):
            assert list(one.steps)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--defences", "prayer"], "defences is 'prayer'; choose from spectral"),
        (["--within", "110%"], "give a share from 0% to 100%"),
        (["--pairs", "0"], "pairs is 0"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    plain: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    assert main(["frontier", str(plain), "--output", str(tmp_path / "out"), *words]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert said in lines[-1]


def test_the_command_leaves_a_page_and_says_its_sentences(
    plain: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--within", "5%", "--defences", "quantize", "--pairs", "3", "--coefficients", "3", "--steps", "5"]
    assert main(["frontier", str(plain), "--output", str(tmp_path / "out"), *words]) == 0
    assert (tmp_path / "out" / "frontier.html").exists()
    assert "Within 5%, quantize (quantize:" in capsys.readouterr().out.replace("\n", " ")

"""A reproduction in parts is the whole one: each command in one part, and the joined results those of one folder."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from doubleback.cli.main import main
from doubleback.errors import InputError
from doubleback.paper.compared import comparisons
from doubleback.paper.joining import joined, part_of
from doubleback.paper.members import ARTEFACTS, FIGURES, members, read_from
from doubleback.paper.scales import SCALES
from doubleback.paper.writing import write_joined, write_reproduction
from tests.paper.synthetic import SCALE, STAND_INS, make_reproduction
from tests.report.synthetic import change, make_run, read_json


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("parts", [1, 2, 3, 40])
def test_each_command_is_in_one_part_with_all_that_it_needs(scale: str, parts: int) -> None:
    size = SCALES[scale]
    plan = members(size, ARTEFACTS, STAND_INS)
    shares = [part_of(plan, size, part, parts) for part in range(1, parts + 1)]
    assert sorted(folder for share in shares for folder in share) == sorted(plan)
    for share in shares:
        assert list(share) == [folder for folder in plan if folder in share]
        assert {needed for member in share.values() for needed in member.needs} <= set(share)
    rows = [[run for runs in row.runs.values() for run in runs] for row in comparisons(size)]
    for whole in [*rows, *(read_from(size, figure) for figure in FIGURES)]:
        assert sum(not set(whole).isdisjoint(share) for share in shares) == 1


def test_at_cpu_scale_the_parts_take_about_as_long() -> None:
    size = SCALES["cpu"]
    plan = members(size, ARTEFACTS, STAND_INS)
    for parts, most in ((2, 150), (3, 120)):
        shares = [part_of(plan, size, part, parts, ["celeba"]) for part in range(1, parts + 1)]
        minutes = [sum(one.minutes or 1 for one in share.values()) for share in shares]
        assert max(minutes) < 1.2 * min(minutes)
        assert max(minutes) / 2 < most, "two commands side by side"
    shown = [folder for figure in FIGURES for folder in read_from(size, figure) if plan[folder].data != "celeba"]
    assert sum(not set(shown).isdisjoint(share) for share in shares) == 1, "one part draws every figure"


def test_a_plan_of_one_table_has_parts_too() -> None:
    plan = members(SCALE, ["table2"], STAND_INS)
    shares = [part_of(plan, SCALE, part, 3) for part in (1, 2, 3)]
    assert all(shares)
    assert sum(map(len, shares)) == len(plan)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two parts of the whole reproduction, written apart, without what they were made of."""
    home, plan = tmp_path_factory.mktemp("parts"), members(SCALE, ARTEFACTS, STAND_INS)
    folders = []
    for number in (1, 2):
        folder = make_reproduction(home / f"run-{number}")
        kept = part_of(plan, SCALE, number, 2)
        for name in plan.keys() - kept.keys():
            shutil.rmtree(folder / name, ignore_errors=True)
        commands = read_json(folder / "reproduction.json")["commands"]
        change(folder / "reproduction.json", commands={name: commands[name] for name in kept})
        write_reproduction(folder, ["celeba"])
        folders.append(home / f"part-{number}")
        folders[-1].mkdir()
        shutil.copy(folder / "results.json", folders[-1])
        if number == 1:  # all figures are in one part
            shutil.copytree(folder / "figures", folders[-1] / "figures")
    return folders


def test_the_joined_results_are_those_of_one_folder(parts: list[Path], tmp_path: Path) -> None:
    whole = make_reproduction(tmp_path / "whole")
    write_reproduction(whole, ["celeba"])
    assert main(["reproduce", "--join", *map(str, parts), "--output", str(tmp_path / "joined")]) == 0
    one, other = (read_json(folder / "results.json") for folder in (whole, tmp_path / "joined"))
    assert len(other.pop("made")) == 2
    apart = sum(read_json(part / "results.json")["made"][0]["minutes"] for part in parts)
    assert one.pop("made")[0]["minutes"] == pytest.approx(apart)
    assert list(other) == list(one)
    assert other == one
    for name in ("tables/table2.csv", "tables/table3.md", "figures/figure5.png", "figures/figure6.svg"):
        assert (tmp_path / "joined" / name).read_bytes() == (whole / name).read_bytes(), name
    text = (tmp_path / "joined" / "reproduction.md").read_text(encoding="utf-8")
    assert "in 2 parts" in text
    assert text.count("abacus") == 2
    assert (tmp_path / "joined" / "report.html").is_file()


def forged(part: Path, folder: Path, **changes: Any) -> Path:
    shutil.copytree(part, folder)
    (folder / "results.json").write_text(json.dumps(read_json(folder / "results.json") | changes))
    return folder


def test_parts_that_do_not_belong_together_are_refused(parts: list[Path], tmp_path: Path) -> None:
    other = forged(parts[1], tmp_path / "other", version="0.0.1")
    with pytest.raises(InputError, match=r"has another version \(0\.0\.1\) than"):
        joined([parts[0], other])
    with pytest.raises(InputError, match=r"both hold .*; join parts that share nothing"):
        joined([parts[0], parts[0]])
    with pytest.raises(InputError, match=r"results\.json is not as doubleback writes it"):
        joined([parts[0], forged(parts[1], tmp_path / "odd", autoencoders=[{"key": "vae"}])])
    with pytest.raises(InputError, match=r"results\.json"):
        joined([parts[0], tmp_path / "nothing"])


def test_a_figure_that_no_part_has(parts: list[Path], tmp_path: Path) -> None:
    copies = [Path(shutil.copytree(part, tmp_path / part.name)) for part in parts]
    for copy in copies:
        (copy / "figures" / "figure3.svg").unlink(missing_ok=True)
    with pytest.raises(InputError, match=r"none of the parts has figures/figure3\.svg"):
        write_joined(copies, tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


def test_a_strangers_folder_is_not_written_into(parts: list[Path], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty and holds no reproduction"):
        write_joined(parts, tmp_path)


def test_a_run_and_a_part_are_not_overwritten(parts: list[Path], tmp_path: Path) -> None:
    run, odd = make_run(tmp_path / "run"), tmp_path / "odd"
    odd.mkdir()
    (odd / "results.json").write_text('{"audits": 1}')
    for folder, says in ((run, "holds no reproduction"), (odd, "is not as doubleback writes it")):
        before = (folder / "results.json").read_bytes()
        with pytest.raises(InputError, match=says):
            write_joined(parts, folder)
        assert (folder / "results.json").read_bytes() == before
    with pytest.raises(InputError, match="is one of the parts; give another --output"):
        write_joined(parts, parts[1])
    write_joined(parts, tmp_path / "joined")
    write_joined(parts, tmp_path / "joined")  # once more, into what it has written itself


def test_what_no_part_has_is_named(parts: list[Path]) -> None:
    plan = members(SCALE, ARTEFACTS, STAND_INS)
    absent = plan.keys() - part_of(plan, SCALE, 1, 2).keys()
    lost = joined(parts[:1])["lost"]
    assert set(lost) <= absent
    assert {name for name in absent if name.startswith("runs/mnist-draw")} <= set(lost)
    assert set(lost.values()) == {"none of the parts has it"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--part", "3/2"], "part is 3/2; give it as 1/2"),
        (["--part", "half"], "part is half"),
        (["--part", "0/2"], "part is 0/2"),
        (["--join", "a"], "--join has one part"),
        (["--join", "a", "b", "--part", "1/2"], "part has no effect with --join"),
        (["table1", "--join", "a", "b"], "what has no effect with --join"),
        (["--join", "a", "b", "--withhold", "celeba"], "withhold has no effect with --join"),
    ],
)
def test_bad_parts_are_refused_in_a_line(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", *words]) == 2
    assert says in capsys.readouterr().err


def test_the_record_says_what_a_part_ran(parts: list[Path]) -> None:
    stored = [json.loads((part / "results.json").read_text(encoding="utf-8")) for part in parts]
    assert not set(stored[0]["commands"]) & set(stored[1]["commands"])
    assert all(one["lost"] == {} for one in stored)

"""Folders of every kind become runs; what cannot be read is refused in one line."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from doubleback.errors import InputError
from doubleback.report import write_report
from doubleback.report.folders import read_folders
from doubleback.report.runs import RunFolder
from tests.report.synthetic import change, make_audit, make_demo, make_run, read_json, write_json
from tests.report.synthetic_studies import make_classify


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = make_run(tmp_path / "run")
    make_audit(folder / "audit", folder)
    return folder


def read_runs(folders: list[Path]) -> list[RunFolder]:
    return read_folders(folders).runs


def refused(folder: Path, match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        write_report([folder], folder.parent / "out.html")
    assert "\n" not in str(caught.value)
    assert not (folder.parent / "out.html").exists()


def test_an_audit_may_lie_among_a_runs_audits(tmp_path: Path) -> None:
    """`harden` says so of a model whose code only its user has; an audit of other weights is not this run's."""
    run, other = make_run(tmp_path / "run"), make_run(tmp_path / "other", penalty="output")
    make_audit(run / "audits" / "0-of-other", other)
    assert read_folders([run]).runs[0].audit is None
    make_audit(run / "audits" / "mine-make", run)
    found = read_folders([run]).runs[0]
    assert found.audit is not None
    assert found.audit.config["weights"] == json.loads((run / "results.json").read_text())["weights"]


def test_demo_folder_puts_plain_first(demo: Path) -> None:
    assert [run.name for run in read_runs([demo])] == ["plain", "hardened"]


def test_audit_output_is_joined_to_its_run(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "runs" / name) for name in ("a", "b")]
    for folder in runs:
        make_audit(tmp_path / "audits" / folder.name, folder)
    joined = read_runs([tmp_path / "audits"])
    assert [(run.name, bool(run.results), bool(run.audit)) for run in joined] == [
        ("a", True, True),
        ("b", True, True),
    ]
    shutil.rmtree(runs[0])
    make_run(runs[1], seed=7)
    alone = read_runs([tmp_path / "audits"])
    assert [bool(run.results) for run in alone] == [False, False], "gone, and trained anew with another seed"
    assert alone[0].reconstruction_l2 == 2.9
    write_report([tmp_path / "audits"])


def test_what_was_made_of_other_weights_stands_apart(run: Path) -> None:
    """The settings are the same, but not the weights: trained on another machine, or other images."""
    make_classify(run / "classifier", run)
    shutil.copytree(run / "audit", run.parent / "elsewhere")
    (joined,) = read_runs([run])
    assert joined.audit is not None
    assert joined.classifier is not None
    change(run / "results.json", weights="0" * 64)
    found = read_runs([run, run.parent / "elsewhere"])
    assert [(one.name, bool(one.results), bool(one.audit), bool(one.classifier)) for one in found] == [
        ("run", True, False, False),
        ("run/audit", False, True, False),
        ("run/classifier", False, False, True),
        ("elsewhere", False, True, False),
    ]
    assert [one.reconstruction_l2 for one in found] == [2.8854, 2.9, None, 2.9], "each beside its own error"


def test_the_same_weights_are_the_same_run(run: Path) -> None:
    """However the settings have come to be written."""
    settings = read_json(run / "config.json")["train"] | {"new_in_this_version": 1}
    change(run / "config.json", train=settings)
    assert [bool(one.audit) for one in read_runs([run])] == [True]
    assert [bool(one.results) for one in read_runs([run / "audit"])] == [True]


@pytest.mark.parametrize("lacks", ["results.json", "audit/config.json"])
def test_without_a_digest_the_settings_decide(run: Path, lacks: str) -> None:
    change(run / lacks, weights=None)
    assert [bool(one.audit) for one in read_runs([run])] == [True]
    change(run / "config.json", train=read_json(run / "config.json")["train"] | {"seed": 7})
    assert [(one.name, bool(one.audit)) for one in read_runs([run])] == [("run", False), ("run/audit", True)]


def test_audit_folder_itself_takes_its_runs_name(run: Path) -> None:
    assert [found.name for found in read_runs([run / "audit"])] == ["run"]


def test_names_are_unique(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / parent / "vae") for parent in ("a", "b")]
    assert [run.name for run in read_runs(folders)] == ["a/vae", "b/vae"]
    assert [run.name for run in read_runs([folders[0], folders[0]])] == ["a/vae (1)", "a/vae (2)"]


def test_no_folder_at_all() -> None:
    with pytest.raises(InputError, match="no folder"):
        write_report([])


def test_missing_folder(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "is not a folder")


def test_nothing_to_report(tmp_path: Path) -> None:
    (tmp_path / "empty" / "inside").mkdir(parents=True)
    refused(tmp_path / "empty", "nothing to report")


def test_unfinished_run_is_passed_over(tmp_path: Path) -> None:
    make_demo(tmp_path / "demo")
    (tmp_path / "demo" / "hardened" / "results.json").unlink()
    assert [run.name for run in read_runs([tmp_path / "demo"])] == ["plain"]
    refused(tmp_path / "demo" / "hardened" / "checkpoint", "is not a folder")


@pytest.mark.parametrize("file", ["config.json", "results.json", "audit/config.json", "audit/results.json"])
def test_damaged_json(run: Path, file: str) -> None:
    (run / file).write_text('{"schema": 1')
    refused(run, "not readable JSON")


@pytest.mark.parametrize("file", ["config.json", "results.json", "audit/config.json", "audit/results.json"])
@pytest.mark.parametrize("schema", [2, None, "1"])
def test_unknown_schema(run: Path, file: str, schema: object) -> None:
    write_json(run / file, json.loads((run / file).read_text()) | {"schema": schema})
    refused(run, "schema .* expected 1")


@pytest.mark.parametrize("file", ["images.npz", "audit/images.npz", "audit/curves.npz"])
def test_damaged_npz(run: Path, file: str) -> None:
    data = (run / file).read_bytes()
    for damage in (b"", b"not a zip", data[: len(data) // 2], data[:200] + bytes(400) + data[600:]):
        (run / file).write_bytes(damage)
        refused(run, "not a readable NPZ")


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("unpickled",))


def test_pickles_are_never_read(run: Path) -> None:
    np.savez(run / "images.npz", test=np.array([Bomb()], dtype=object))
    refused(run, "not a readable NPZ")
    (run / "images.npz").write_bytes(pickle.dumps(Bomb()))
    refused(run, "not a readable NPZ")


@pytest.mark.parametrize(
    ("file", "name", "array"),
    [
        ("images.npz", "test", np.zeros((2, 28, 28), np.uint8)),
        ("images.npz", "test", np.zeros((2, 1, 28, 28))),
        ("images.npz", "test_reconstruction", np.zeros((2, 1, 14, 14), np.uint8)),
        ("audit/images.npz", "target", np.zeros((1, 1, 28, 28), np.uint8)),
        ("audit/images.npz", "latent/x_adv", np.zeros((1, 1, 1, 28, 28), np.uint8)),
        ("audit/images.npz", "output/distortion", np.zeros(5)),
        ("audit/curves.npz", "grid", np.zeros(7)),
        ("audit/curves.npz", "latent/envelope", np.zeros((3, 101))),
        ("audit/curves.npz", "worst_case/auddc", np.array(["a"] * 20)),
    ],
)
def test_arrays_of_other_shapes(run: Path, file: str, name: str, array: np.ndarray) -> None:
    with np.load(run / file) as archive:
        arrays = dict(archive)
    np.savez(run / file, **(arrays | {name: array}))
    refused(run, "write the file again")


def test_log_that_is_not_a_table_of_numbers(run: Path) -> None:
    (run / "log.csv").write_text("epoch,loss\n1,abc\n")
    refused(run, "not a table of numbers")
    (run / "log.csv").write_text("epoch,loss\n1,2,3\n")
    refused(run, "not a table of numbers")

"""Cells without a number, and the rows that hold them."""

from doubleback.report.archives import why_missing
from doubleback.report.cells import Cell, Row, filled, number_cell

RECORD = {
    "test": {"jacobian": {"spectral": None}, "not_measured": {"jacobian.spectral": "RuntimeError: refused"}},
    "gradients": {"score": None, "latent": 2.0, "not_measured": {"score": "it is inf"}},
    "not_measured": 3,
}


def test_an_empty_cell_says_why() -> None:
    assert why_missing(RECORD, "test.jacobian.spectral") == "RuntimeError: refused"
    assert number_cell(RECORD, "gradients", "score") == Cell(interval="not measured: it is inf")
    assert number_cell(RECORD, "gradients", "latent").text == "2.000"
    for unknown in ("gradients.other", "nothing", "test.jacobian.other"):
        assert number_cell(RECORD, unknown) == Cell()


def test_a_row_is_kept_for_a_number_or_a_reason() -> None:
    rows = [Row(name, "", "", [cell]) for name, cell in (("a", Cell()), ("b", Cell(interval="not measured: x")))]
    assert [row.label for group in filled({"Group": rows, "Empty": rows[:1]}) for row in group.rows] == ["b"]

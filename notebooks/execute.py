"""Run the notebooks and store what they show: python -m notebooks.execute [NAME ...]

They are written to be read on GitHub, so their outputs are stored. Nothing about the machine is.
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
NAMES = ("harden-your-own", "read-a-curve", "audit-autoencoderkl")
KEPT = ("tags",)  # of a cell's metadata


def executed(name: str, changed: Mapping[str, int] | None = None) -> nbformat.NotebookNode:
    """A notebook with its outputs.

    Args:
        name: the file's, without `.ipynb`.
        changed: other values for the names that its cell with the tag "parameters" sets.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raises an error.
        ValueError: the notebook has no such parameter.
    """
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    (parameters,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    for parameter, value in (changed or {}).items():
        parameters.source, count = re.subn(rf"(?m)^{parameter} = \d+", f"{parameter} = {value}", parameters.source)
        if count != 1:
            raise ValueError(f"{name} has no parameter {parameter}")
    NotebookClient(notebook, timeout=600, record_timing=False, resources={"metadata": {"path": str(FOLDER)}}).execute()
    for cell in notebook.cells:
        cell.metadata = {key: value for key, value in cell.metadata.items() if key in KEPT}
        if "outputs" in cell:  # warnings of libraries name their files
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook.metadata["language_info"] = {"name": "python"}
    return nbformat.from_dict(notebook)


if __name__ == "__main__":
    for asked in sys.argv[1:] or NAMES:
        nbformat.write(executed(asked), FOLDER / f"{asked}.ipynb")

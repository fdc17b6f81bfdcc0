"""Run folders in, one self-contained HTML file out. Reads JSON, NPZ and CSV only; knows no torch.

Inside: `archives` (a file to arrays or rows), `runs` and `studies` (a folder to a record), `folders` (all of them),
`svg`, `figures`, `training_figures`, `accuracy_figures`, `damage_figures` (curves), `pictures` (images as data URIs),
`cells` (tables), `table`, `budgets`, `robustness`, `transition` (what the sections show), `verdict` and
`headline` (what the numbers say), `page` (all of it in HTML). It takes any attack and any training term: the files in
the folders give their names and aims.
"""

from doubleback.report.page import write_report

__all__ = ["write_report"]

"""Run folders in, one self-contained HTML file out. Reads JSON, NPZ and CSV only; knows no torch.

Inside: `archives` (a file to arrays or rows), `runs` (folders to records), `figures` (curves as SVG),
`pictures` (images as data URIs), `table` and `verdict` (what the numbers say), `page` (all of it in HTML).
"""

from doubleback.report.page import write_report

__all__ = ["write_report"]

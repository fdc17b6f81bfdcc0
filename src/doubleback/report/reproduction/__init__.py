"""The paper's tables and figures from a folder that `doubleback reproduce` has filled; reads files, knows no torch.

Inside: `results` (folders to one record of numbers), `tables` (the record as Tables 1 to 4), `claims` (what the paper's
text states against what was measured), `drawings` (Figures 1 to 6), `writing` (all of it to files).
"""

from doubleback.report.reproduction.writing import write_reproduction

__all__ = ["write_reproduction"]

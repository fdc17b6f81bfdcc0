"""The paper, repeated: `doubleback reproduce`.

The plan: `scales` (how large), `compared` (which models, by their ids), `members` (which commands, for which table or
figure), `planning` (what of it is there already), `running` and `launching` (each command in a process of its own).

The report, which reads files and knows no torch: `results` (folders to one record of numbers), `tables` (the record as
Tables 1 to 4), `claims` (what the paper's text states against what was measured), `drawings` and `plates` (Figures 1
to 6), `writing` (all of it to files).
"""

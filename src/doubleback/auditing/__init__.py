"""How badly can this autoencoder be fooled? Pairs -> attacks -> curves -> one record.

Inside: `pairs` (which images, how they are reconstructed), `auditor` and `plan` (attack them), `sheet` (what each chunk
adds), `filling` (where a sweep leaves holes), `measures` and `breaking` (how far a reconstruction goes), `record` (the
figures), `trust` and `budget_trust` (whether to believe them). Without pairs: `budgeted` (a batch of images within a
budget), `one_for_all` (one change for all of them). The room is not called `audit` because `doubleback.audit` is the
function.
"""

from doubleback.auditing.auditor import audit, plan_audit
from doubleback.auditing.budgeted import damage, r_margin
from doubleback.auditing.checking import check
from doubleback.auditing.one_for_all import universal
from doubleback.auditing.pairs import draw_pairs
from doubleback.auditing.plan import Plan
from doubleback.auditing.record import Audited

__all__ = ["Audited", "Plan", "audit", "check", "damage", "draw_pairs", "plan_audit", "r_margin", "universal"]

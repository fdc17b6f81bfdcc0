"""How badly can this autoencoder be fooled? Pairs -> attacks -> curves -> one record.

Inside: `pairs` (which images, how they are reconstructed), `auditor` (attack them), `sheet` (what each chunk adds),
`record` (the figures), `trust` (whether to believe them). The room is not called `audit` because `doubleback.audit` is
the function.
"""

from doubleback.auditing.auditor import Plan, audit, plan_audit
from doubleback.auditing.checking import check
from doubleback.auditing.pairs import draw_pairs
from doubleback.auditing.record import Audited

__all__ = ["Audited", "Plan", "audit", "check", "draw_pairs", "plan_audit"]

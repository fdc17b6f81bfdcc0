"""How badly can this autoencoder be fooled? Pairs -> attacks -> curves -> one record.

Inside: `pairs` (which images, how they are reconstructed), `auditor` (attack them), `record` (the figures). The room
is not called `audit` because `doubleback.audit` is the function.
"""

from doubleback.auditing.auditor import audit, check_audit, check_images
from doubleback.auditing.pairs import draw_pairs
from doubleback.auditing.record import Audit

__all__ = ["Audit", "audit", "check_audit", "check_images", "draw_pairs"]

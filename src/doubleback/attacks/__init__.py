"""Attacks: `engine` minimises any row objective in a box; `autoencoder` says what to minimise."""

from doubleback.attacks.autoencoder import latent_attack, output_attack, untargeted_attack
from doubleback.attacks.engine import minimize
from doubleback.attacks.sweep import Attack, coefficient_sweep

__all__ = ["Attack", "coefficient_sweep", "latent_attack", "minimize", "output_attack", "untargeted_attack"]

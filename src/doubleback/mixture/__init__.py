"""The robust classifier: one Gaussian mixture per class on an autoencoder's code (paper, equations 13 and 14).

    p(z|i) = sum_j pi_ij N(z; mu_ij, Sigma_ij),    z = mean of q(z|x)
    f_i(x) = p(z|i) / sum_k p(z|k)

fitted by EM (scikit-learn) and evaluated in torch, differentiable in x, always as logarithms:

    log p(z|i) = logsumexp_j [c_ij + b_ij' z - z' P_ij z / 2],   P = L L' = Sigma^-1,   b = P mu,
    c = log pi - D/2 log 2 pi + log det L - mu' P mu / 2

The expanded square makes all Gaussians one matrix product with the products of z's elements; in float64 and about the
centre of all means, where what it cancels is not missed.
"""

from doubleback.mixture.classifier import LatentMixtureClassifier
from doubleback.mixture.densities import LatentMixtures
from doubleback.mixture.fitting import fitted, sparse

__all__ = ["LatentMixtureClassifier", "LatentMixtures", "fitted", "sparse"]

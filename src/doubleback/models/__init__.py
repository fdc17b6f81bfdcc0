"""Autoencoders and classifiers, and the protocols that make anyone's model one of them."""

from doubleback.models.adapter import AutoencoderAdapter
from doubleback.models.base import Autoencoder, Classifier, Reconstruction, is_variational
from doubleback.models.channel import Surviving
from doubleback.models.classifiers import MLP, CvNet, LeNet
from doubleback.models.conv import ConvVAE
from doubleback.models.draw import DRAW
from doubleback.models.lipschitz import LipschitzAE
from doubleback.models.vae import VAE
from doubleback.models.victim import Wrapped
from doubleback.models.wrapping import as_victim, wrap

__all__ = [
    "DRAW",
    "MLP",
    "VAE",
    "Autoencoder",
    "AutoencoderAdapter",
    "Classifier",
    "ConvVAE",
    "CvNet",
    "LeNet",
    "LipschitzAE",
    "Reconstruction",
    "Surviving",
    "Wrapped",
    "as_victim",
    "is_variational",
    "wrap",
]

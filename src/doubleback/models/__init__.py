"""Autoencoders, and the protocol that makes anyone's autoencoder one of them."""

from doubleback.models.adapter import AutoencoderAdapter
from doubleback.models.base import Autoencoder, Reconstruction, is_variational
from doubleback.models.conv import ConvVAE
from doubleback.models.draw import DRAW
from doubleback.models.vae import VAE

__all__ = ["DRAW", "VAE", "Autoencoder", "AutoencoderAdapter", "ConvVAE", "Reconstruction", "is_variational"]

"""Autoencoders, and the protocol that makes anyone's autoencoder one of them."""

from doubleback.models.adapter import AutoencoderAdapter
from doubleback.models.base import Autoencoder, Reconstruction
from doubleback.models.vae import VAE

__all__ = ["VAE", "Autoencoder", "AutoencoderAdapter", "Reconstruction"]

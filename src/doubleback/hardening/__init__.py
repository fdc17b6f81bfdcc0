"""A trained autoencoder made to withstand more, within a budget: `hardened` (`harden`), the `budget`, `freezing`."""

from doubleback.hardening.hardened import Hardened, Twin, harden

__all__ = ["Hardened", "Twin", "harden"]

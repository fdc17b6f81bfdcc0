"""`doubleback push`: a model, its card and its figures as a repository of the Hugging Face hub."""

from doubleback.sharing.pushing import push

__all__ = ["push"]

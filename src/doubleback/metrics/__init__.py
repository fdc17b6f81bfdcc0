"""What is measured, from tensors and callables alone: `curve`, `smoothness`, `images`."""

"""What is measured, from tensors, arrays and callables alone.

`images`: errors; `curve`: AUDDC; `smoothness`: Jacobians; `certificate`: proven bounds; `intervals` and `differences`:
how sure a mean and a paired difference are; `described`: figures of which some may fail.
"""

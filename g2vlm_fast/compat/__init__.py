"""Drop-ins for functions of other libraries: change the import line, keep the rest.

``g2vlm_fast.compat.pytorch3d``, ``.kaolin`` and ``.torch_scatter`` have the signatures, defaults
and returns of the functions they are named after, on CPU and CUDA, and need none of these
libraries. ``.pyg`` replaces layers of PyTorch Geometric inside of a model. Where they answer
differently on purpose, their docstrings say so.
"""

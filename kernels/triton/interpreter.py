"""Keeps Triton's interpreter (``TRITON_INTERPRET=1``: kernels run on the CPU, for tests) usable."""

import os


def repair_interpreter() -> None:
    """Let interpreted loops have tensors as bounds under NumPy 2.4 and later.

    Triton 3.6 turns a bound into an int by ``int(array of one element)``, which NumPy removed.
    """
    if os.environ.get("TRITON_INTERPRET") != "1":
        return
    from triton.runtime import interpreter

    patch = interpreter._patch_lang_tensor
    if getattr(patch, "repaired", False):
        return

    def patch_and_repair(tensor, scope) -> None:
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    patch_and_repair.repaired = True
    interpreter._patch_lang_tensor = patch_and_repair

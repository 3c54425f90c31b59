"""Keeps Triton's interpreter (``TRITON_INTERPRET=1``: kernels run on the CPU, for tests) usable."""

import os


def repair_interpreter() -> None:
    """Let interpreted kernels run under NumPy 2.4 and later, and as silently as on a GPU.

    Triton 3.6 turns the bounds of loops into ints by ``int(array of one element)``, which NumPy
    removed; and NumPy warns of overflow in padding that no kernel stores.
    """
    if os.environ.get("TRITON_INTERPRET") != "1":
        return
    import numpy as np
    from triton.runtime import interpreter

    patch, execute = interpreter._patch_lang_tensor, interpreter.GridExecutor.__call__
    if getattr(patch, "repaired", False):
        return

    def patch_and_repair(tensor, scope) -> None:
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    def execute_silently(self, *arguments, **options):
        with np.errstate(all="ignore"):
            return execute(self, *arguments, **options)

    patch_and_repair.repaired = True
    interpreter._patch_lang_tensor = patch_and_repair
    interpreter.GridExecutor.__call__ = execute_silently

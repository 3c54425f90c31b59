"""Keeps Triton's interpreter (``TRITON_INTERPRET=1``: kernels run on the CPU, for tests) usable."""

import os


def repair_interpreter() -> None:
    """Let interpreted kernels run under NumPy 2.4 and later, and as silently as on a GPU.

    Triton 3.6 turns the bounds of loops into ints by ``int(array of one element)``, which NumPy
    removed; it multiplies the bits of bfloat16 where their values are meant; and NumPy warns of
    overflow in padding that no kernel stores.
    """
    if os.environ.get("TRITON_INTERPRET") != "1":
        return
    import numpy as np
    import triton.language as tl
    from triton.runtime import interpreter

    patch, execute = interpreter._patch_lang_tensor, interpreter.GridExecutor.__call__
    multiply = interpreter.InterpreterBuilder.create_dot
    if getattr(patch, "repaired", False):
        return

    def patch_and_repair(tensor, scope) -> None:
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    def widened(handle):
        if handle.dtype.scalar != tl.bfloat16:
            return handle
        bits = handle.data.astype(np.uint32) << 16
        return interpreter.TensorHandle(bits.view(np.float32), tl.float32)

    def multiply_values(self, a, b, *arguments):
        return multiply(self, widened(a), widened(b), *arguments)

    def execute_silently(self, *arguments, **options):
        with np.errstate(all="ignore"):
            return execute(self, *arguments, **options)

    patch_and_repair.repaired = True
    interpreter._patch_lang_tensor = patch_and_repair
    interpreter.InterpreterBuilder.create_dot = multiply_values
    interpreter.GridExecutor.__call__ = execute_silently

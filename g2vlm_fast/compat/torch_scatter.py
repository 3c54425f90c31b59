"""Drop-ins for all functions of ``torch_scatter`` 2.1: reductions of values by index or by run.

    from g2vlm_fast.compat.torch_scatter import scatter, scatter_softmax, segment_csr

On CPU and CUDA; floating-point and integer dtypes; bitwise repeatable in every pass, without float
atomics. Sums, means and extremes run on :func:`g2vlm_fast.ops.graph_reduce`, rows by group, after
a stable sort of an index that is not sorted. Where no kernel covers the case plain torch does,
repeatably: integers (whose sums do not depend on the order), products, float64 on a GPU, the sort,
copies of rows on the CPU, and the gradient of extremes. An index with an entry of its own for
every value (one that varies along all axes) is sorted value by value, and slow for it; one axis,
or an axis repeated by ``expand``, is sorted once for all channels. On a GPU one group is reduced
by few threads: a handful of long groups (the graphs of a batch) is slow.

Kept: names, arguments, defaults; how an index is broadcast; 0 for groups without values (1 for
products), the size of the axis as their position; merging into ``out`` by ``scatter`` and
``segment_coo``, overwriting it by ``segment_csr`` and the gathers; integer means that are rounded
down; gradients, differentiable again; ``torch.jit.script`` (the work stays in Python, so that a
scripted function runs but cannot be saved).

Different on purpose, as theirs would be silently wrong or an accident:

- An index out of range raises ValueError. On a GPU that is not read back (``dim_size`` or ``out``
  given) it fails an assertion on the device, as in torch's own ``scatter_add_``; the same for
  pointers there. So no call waits for the GPU but for sizes that were left out.
- The first of equal extremes wins, on a GPU too (there, any). NaN is greater and less than any
  number (there, on the CPU, it is passed over). Infinities are values like others (there, a group
  of nothing but -inf has maximum 0).
- Half precision is summed in float32 and rounded once; counts are exact (there, 256 at most in
  bfloat16).
- The gradient of a product by a factor of 0 is the product of the others (there, 0); second
  derivatives of such products raise NotImplementedError.
- Gradients reach ``out`` where it counts in an extreme or product (there, never).
- ``segment_coo`` sorts an index that is not sorted, where it can be read. ``gather_csr`` gives 0
  before the first run, ``scatter_std`` gradient 0 to equal values (there, NaN).
  ``scatter_logsumexp`` of nothing but -inf is -inf (there, 0).

Not here: the submodules (import names from this module), complex numbers and booleans, more than
2^31 - 1024 indexed rows, an ``out`` larger than ``src`` along other axes than ``dim``, and
``torch.func``. ``torch.compile(fullgraph=True)`` needs ``dim_size`` or ``out``, and ``out`` for
``gather_csr``: other sizes are values of the index.
"""

from g2vlm_fast.compat._scatter_composite import (
    scatter_log_softmax,
    scatter_logsumexp,
    scatter_softmax,
    scatter_std,
)
from g2vlm_fast.compat._scatter_functions import (
    scatter,
    scatter_add,
    scatter_max,
    scatter_mean,
    scatter_min,
    scatter_mul,
    scatter_sum,
)
from g2vlm_fast.compat._scatter_segments import (
    gather_coo,
    gather_csr,
    segment_add_coo,
    segment_add_csr,
    segment_coo,
    segment_csr,
    segment_max_coo,
    segment_max_csr,
    segment_mean_coo,
    segment_mean_csr,
    segment_min_coo,
    segment_min_csr,
    segment_sum_coo,
    segment_sum_csr,
)

__all__ = [
    "gather_coo",
    "gather_csr",
    "scatter",
    "scatter_add",
    "scatter_log_softmax",
    "scatter_logsumexp",
    "scatter_max",
    "scatter_mean",
    "scatter_min",
    "scatter_mul",
    "scatter_softmax",
    "scatter_std",
    "scatter_sum",
    "segment_add_coo",
    "segment_add_csr",
    "segment_coo",
    "segment_csr",
    "segment_max_coo",
    "segment_max_csr",
    "segment_mean_coo",
    "segment_mean_csr",
    "segment_min_coo",
    "segment_min_csr",
    "segment_sum_coo",
    "segment_sum_csr",
]

"""One protocol for every system: what it is given, what it says, how that is scored and kept.

A :class:`~g2vlm_fast.eval.protocol.cases.Benchmark` holds cases; a
:class:`~g2vlm_fast.eval.protocol.systems.System` predicts each of them; a scene's prediction is
scored into a :class:`~g2vlm_fast.eval.protocol.records.SceneRecord`, from which any number can be
computed again without the system.
"""

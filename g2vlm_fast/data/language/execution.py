"""Programs executed over the truth of a scene, in three-valued logic.

Some relations are undecided, so a set of objects has two bounds: those that match for certain
and those that might (:class:`g2vlm_fast.data.language.facts.Matches`). Whatever would differ
between the bounds is undecided, and its result is None: a reference singles an object out only if
both bounds are that object alone, and a question has an answer only if nothing undecided could
change it. Comparisons have margins of their own:

=====================  ============================  ==========================================
operation              true, or the extreme          false
=====================  ============================  ==========================================
superlative            1.15 times its runner-up
nearest, farthest      0.15 m before its runner-up
taller                 1.10 times as tall, or more   at most 1.03 times as tall
nearer                 nearer by 0.15 m or more      farther by 0.15 m or more
reach                  within 0.60 m, and its box    1.00 m away or more
                       from 0.2 to 1.9 m of height
direction, route       10 degrees inside a sector    (see :mod:`.situations`)
appearance_order       a view shows 0.2 % of its     no earlier view shows a pixel of it, and
                       pixels of each class          the first views differ
=====================  ============================  ==========================================
"""

from __future__ import annotations

from typing import Any

from g2vlm_fast.data.language.answer_operations import ANSWER_OPERATIONS
from g2vlm_fast.data.language.facts import Facts
from g2vlm_fast.data.language.programs import Program, view_of
from g2vlm_fast.data.language.set_operations import SET_OPERATIONS, only_one

_OPERATIONS = SET_OPERATIONS | ANSWER_OPERATIONS


class Executor:
    """Runs programs over one scene; results are kept, as programs share their parts."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self._results: dict[Program, Any] = {}

    def run(self, program: Program) -> Any:
        """Return what a program gives.

        Objects come as :class:`Matches`, an object as its index, a place as a
        :class:`Standpoint`, a number as float, a truth as bool and a word as str; None where it
        is undecided. Objects are never None: undecided ones are possible but not certain.
        """
        if program not in self._results:
            inputs = [self.run(part) for part in program.inputs]
            self._results[program] = _OPERATIONS[program.operation](self.facts, program, *inputs)
        return self._results[program]

    def try_run(self, program: Program) -> Any:
        """Return what a program gives, or None also where it names a view that is not there."""
        views = [view_of(part.frame) for part in program.walk()]
        if any(view is not None and view >= self.facts.num_views for view in views):
            return None
        return self.run(program)

    def referent(self, objects: Program) -> int | None:
        """Return the one object that a program for objects singles out, or None."""
        return only_one(self.run(objects))

"""Every wording of every text; the plain ones come first."""

from __future__ import annotations

PLAIN_WORDINGS = 2
"""How many of the first wordings of each text are plain."""

WORDINGS: dict[str, tuple[str, ...]] = {
    "caption": (
        "describe the {place}.",
        "what do you see?",
        "give a short description of this {place}.",
        "what is in this {place}?",
        "tell me what this place looks like.",
    ),
    "existence": (
        "is there {thing}?",
        "do you see {thing}?",
        "is there {thing} in the {place}?",
        "does this {place} have {thing}?",
        "can {thing} be found here?",
    ),
    "count": (
        "how many {things} are there?",
        "how many {things} does the {place} have?",
        "what is the number of {things} here?",
        "count {things} in the {place}: how many do you find?",
    ),
    "color": (
        "what color is {thing}?",
        "what is the color of {thing}?",
        "which color does {thing} have?",
        "tell me the color of {thing}.",
    ),
    "direction": (
        "what is {relation} {thing}?",
        "which object is {relation} {thing}?",
        "what do you find {relation} {thing}?",
        "name the object {relation} {thing}.",
    ),
    "relation": (
        "is {thing} {relation} {other}?",
        "would you say that {thing} is {relation} {other}?",
        "is it true that {thing} is {relation} {other}?",
        "tell me whether {thing} is {relation} {other}.",
    ),
    "view_relation": (
        "seen from view {view}, is {thing} {relation} {other}?",
        "in view {view}, is {thing} {relation} {other}?",
        "in the image of view {view}, is {thing} {relation} {other}?",
        "looking from view {view}, would you say that {thing} is {relation} {other}?",
    ),
    "own_relation": (
        "as {other} faces, is {thing} {relation} it?",
        "from the point of view of {other}, is {thing} {relation} it?",
        "if {other} could look ahead, would {thing} be {relation} it?",
        "seen as from {other}, is {thing} {relation} it?",
    ),
    "between": (
        "what is between {thing} and {other}?",
        "which object is between {thing} and {other}?",
        "what stands between {thing} and {other}?",
        "name the object that lies between {thing} and {other}.",
    ),
    "distance": (
        "how far is {thing} from {other}?",
        "what is the distance between {thing} and {other}?",
        "how many meters are there between {thing} and {other}?",
        "measure the gap between {thing} and {other}: how wide is it?",
    ),
    "height": (
        "how tall is {thing}?",
        "what is the height of {thing}?",
        "how high does {thing} measure from its bottom to its top?",
        "how many meters tall is {thing}?",
    ),
    "width": (
        "how wide is {thing}?",
        "what is the width of {thing}?",
        "how long is the longer side of {thing}?",
        "how many meters wide is {thing}?",
    ),
    "room_size": (
        "how large is the {place}?",
        "what is the floor area of this {place}?",
        "how many square meters does this {place} have?",
        "what is the size of the floor of the {place}?",
    ),
    "count_comparison": (
        "are there {more} {things} than {others}?",
        "does the {place} have {more} {things} than {others}?",
        "would you find {more} {things} than {others} here?",
        "is it true that there are {more} {things} than {others}?",
    ),
    "count_equality": (
        "are there as many {things} as {others}?",
        "does the {place} have as many {things} as {others}?",
        "is the number of {things} the same as that of {others}?",
        "would you count as many {things} as {others}?",
    ),
    "extreme": (
        "which is {more}, {choices}?",
        "what is the {most} of these: {choices}?",
        "out of these, which one is the {most}: {choices}?",
        "pick the {most}: {choices}.",
    ),
    "height_comparison": (
        "is {thing} taller than {other}?",
        "would you say that {thing} is taller than {other}?",
        "does {thing} measure more in height than {other}?",
        "comparing heights, is {thing} taller than {other}?",
    ),
    "relative_distance": (
        "which of these is closest to {thing}: {choices}?",
        "what is nearest to {thing}: {choices}?",
        "out of these, which one is the nearest to {thing}: {choices}?",
        "going by the shortest gap, which is closest to {thing}: {choices}?",
    ),
    "nearer": (
        "is {thing} closer to {anchor} than {other}?",
        "is {thing} nearer to {anchor} than {other} is?",
        "compared with {other}, is {thing} closer to {anchor}?",
        "does {thing} have less distance to {anchor} than {other}?",
    ),
    "relative_direction_easy": (
        "if i stand by {at} and face {towards}, is {thing} to my left or to my right?",
        "standing at {at} and looking at {towards}, do i have {thing} on my left or on my right?",
        "i am at {at}, facing {towards}. is {thing} on the left or on the right?",
        "from {at}, with my eyes on {towards}, does {thing} lie left or right of me?",
    ),
    "relative_direction_medium": (
        "if i stand by {at} and face {towards}, is {thing} in front, left, right or behind?",
        "standing at {at} and looking at {towards}, on which side of me is {thing}: in front, "
        "left, right or behind?",
        "i am at {at}, facing {towards}. where is {thing}: in front, left, right or behind?",
        "from {at}, with my eyes on {towards}, where would i find {thing}: in front, left, right "
        "or behind?",
    ),
    "relative_direction_hard": (
        "if i stand by {at} and face {towards}, is {thing} to my front left, front right, back "
        "left or back right?",
        "standing at {at} and looking at {towards}, in which quarter is {thing}: front left, "
        "front right, back left or back right?",
        "i am at {at}, facing {towards}. in which quarter is {thing}: front left, front right, "
        "back left or back right?",
        "from {at}, with my eyes on {towards}, which quarter holds {thing}: front left, front "
        "right, back left or back right?",
    ),
    "route": (
        "starting at {start}, i walk straight to {first}, turn, walk straight to {second}, turn, "
        "and walk straight to {goal}. which are the two turns: left, right or back?",
        "i go from {start} straight to {first}, then to {second}, then to {goal}. at {first} and "
        "at {second}, do i turn left, right or back?",
        "my way leads from {start} over {first} and {second} to {goal}. which way do i turn at "
        "each of the two stops: left, right or back?",
        "a robot drives in straight lines from {start} to {first} to {second} to {goal}. name its "
        "two turns: left, right or back.",
    ),
    "appearance_order": (
        "in which order do these first appear in the views: {choices}?",
        "going through the views, what is the order of first appearance of {choices}?",
        "which comes first, second and third in the views: {choices}?",
        "sort {choices} by the view that shows them first.",
    ),
    "situation": (
        "i am standing beside {at} and facing {towards}.",
        "i stand next to {at} and look at {towards}.",
        "standing by {at}, i have turned to {towards}.",
        "i am right beside {at}, with {towards} straight ahead of me.",
    ),
    "situated_what": (
        "what is {side}?",
        "what is the nearest object {side}?",
        "what do i find first {side}?",
        "what thing is closest to me {side}?",
    ),
    "situated_color": (
        "what color is {thing}?",
        "what is the color of {thing}?",
        "which color does {thing} have?",
        "tell me the color of {thing}.",
    ),
    "situated_is": (
        "is {thing} {side}?",
        "is it true that {thing} is {side}?",
        "would you say that {thing} is {side}?",
        "do i have {thing} {side}?",
    ),
    "situated_count": (
        "how many {things} are {side}?",
        "how many {things} do i have {side}?",
        "what is the number of {things} {side}?",
        "counting only what is {side}, how many {things} are there?",
    ),
    "situated_distance": (
        "how far am i from {thing}?",
        "how far away from me is {thing}?",
        "how many meters is it from here to {thing}?",
        "what is my distance to {thing}?",
    ),
    "situated_reach": (
        "can i touch {thing} without taking a step?",
        "can i reach {thing} from here?",
        "can my hand get to {thing} if i stay where i am?",
        "is {thing} within reach of my arm?",
    ),
    "situated_which": (
        "which is closer to me, {thing} or {other}?",
        "which one is nearer to me, {thing} or {other}?",
        "which of the two is less far from me, {thing} or {other}?",
        "which would i walk to faster, {thing} or {other}?",
    ),
    "situated_turn": (
        "which way should i turn to face {thing}, left or right?",
        "which turn is shorter to face {thing}, left or right?",
        "to look at {thing}, do i turn left or right?",
        "should i turn left or right to see {thing} ahead?",
    ),
    "situated_other": (
        "am i closer to {thing} or to {other}?",
        "do i stand nearer to {thing} or to {other}?",
        "from where i stand, what is less far away, {thing} or {other}?",
        "if i compare {thing} and {other}, what am i closer to?",
    ),
}
"""Templates by kind of text; braces are filled with noun phrases and words, {place} with "room" or
"flat"."""

RELATION_WORDS: dict[str, tuple[str, ...]] = {
    "left of": ("left of", "to the left of", "on the left side of", "on the left of"),
    "right of": ("right of", "to the right of", "on the right side of", "on the right of"),
    "in front of": ("in front of", "to the front of", "at the front of"),
    "behind": ("behind", "at the back of", "to the rear of"),
    "on": ("on", "on top of", "resting on"),
    "near": ("near", "close to", "not far from", "next to"),
    "in": ("in", "inside", "within"),
    "above": ("above", "over", "overhead of"),
    "below": ("below", "under", "underneath", "beneath"),
    "higher than": ("higher than", "higher up than", "at a greater height than"),
    "lower than": ("lower than", "lower down than", "at a lesser height than"),
    "bigger than": ("bigger than", "larger than", "of greater size than"),
    "smaller than": ("smaller than", "less big than", "of lesser size than"),
    "facing": ("facing", "turned towards", "looking at"),
    "aligned with": ("aligned with", "parallel to", "lined up with"),
}

HOLDER_WORDS: dict[str, tuple[str, ...]] = {
    "wall": ("on the wall", "mounted on the wall", "fixed to the wall"),
    "floor": ("on the floor", "down on the floor", "standing on the floor"),
    "ceiling": ("on the ceiling", "fixed to the ceiling", "under the ceiling"),
}

SIDE_WORDS: dict[str, tuple[str, ...]] = {
    "left": ("on my left", "to my left", "on my left side"),
    "right": ("on my right", "to my right", "on my right side"),
    "in front": ("in front of me", "ahead of me", "before me"),
    "behind": ("behind me", "at my back", "in back of me"),
}

NOUNS: dict[str, tuple[str, ...]] = {
    "sofa": ("sofa", "couch", "settee"),
    "bin": ("bin", "trash can", "waste bin"),
    "cabinet": ("cabinet", "cupboard"),
    "box": ("box", "carton"),
    "refrigerator": ("refrigerator", "fridge", "icebox"),
    "television": ("television", "tv", "television set"),
    "nightstand": ("nightstand", "bedside cabinet"),
    "dresser": ("dresser", "chest of drawers"),
    "wardrobe": ("wardrobe", "closet"),
    "picture": ("picture", "painting", "framed picture"),
    "telephone": ("telephone", "phone"),
    "rug": ("rug", "carpet"),
    "stove": ("stove", "cooker"),
    "washing machine": ("washing machine", "washer"),
    "bathtub": ("bathtub", "tub"),
    "ceiling light": ("ceiling light", "ceiling lamp"),
    "plant": ("plant", "potted plant"),
    "backpack": ("backpack", "rucksack"),
    "desk": ("desk", "writing desk"),
}
"""Other nouns for classes; a class that is missing has none. No noun may name another class."""

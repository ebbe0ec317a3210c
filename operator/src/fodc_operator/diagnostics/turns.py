# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is to be given to the proxy.

The one idea: a free place goes to the namespace that has the fewest open requests, and within it to
the oldest request; so a namespace that asks for a hundred does not keep out another that asks for
one.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from fodc_operator.resources.diagnostic_request import Key


def next_turns(waiting: Mapping[Key, int], open_keys: Iterable[Key], places: int) -> list[Key]:
    """Return the keys that are admitted now, in order.

    `waiting` gives the creation time of each; `places` is how many may be open in all.
    """
    load = Counter(key.namespace for key in open_keys)
    free = places - load.total()
    left = dict(sorted(waiting.items(), key=lambda pair: (pair[1], pair[0])))
    turns: list[Key] = []
    while free > 0 and left:
        # `min` takes the first of equals, which is the oldest.
        key = min(left, key=lambda one: load[one.namespace])
        del left[key]
        load[key.namespace] += 1
        turns.append(key)
        free -= 1
    return turns

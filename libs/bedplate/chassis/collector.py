"""Python's cycle collector in a long-lived process."""

from __future__ import annotations

import gc

# Objects made before the young are looked at. The default of 700 is for scripts: a request makes
# more than that, so it would be looked at while it is under way, found alive, and kept for older
# looks, which cost more.
_YOUNG = 10_000


def spare_what_stays() -> None:
    """Call once, when everything is imported and built: the collector need not look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 10, 10)

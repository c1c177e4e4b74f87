"""Loaded last by the process that worker processes are forked from; see `processes`.

Nothing that is there by now will ever be garbage. Looking for some would cost the workers some per
cent of their time, and the process itself half a second at its end.
"""

import gc

gc.freeze()

"""Loaded last by the process that worker processes are forked from; see `processes`.

Nothing that is there by now will ever be garbage. Looking for some would cost every process a tenth
of its time, and half a second at its end.
"""

import gc

gc.freeze()

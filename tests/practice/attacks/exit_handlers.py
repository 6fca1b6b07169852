"""Registers what should run at the end, after the results are written."""

import atexit
import os
import threading
import weakref


def unit_rows(x):
    class Thing:
        pass

    atexit.register(os.system, "touch @VICTIM@/atexit")
    threading._register_atexit(os.system, "touch @VICTIM@/atexit")
    weakref.finalize(Thing(), os.system, "touch @VICTIM@/atexit")
    return x

"""What holds for every test: no generated example fails for being slow on a busy machine, and
`make test` tries the same examples every time; `make test-deep` tries new ones. What a test starts
can be interrupted."""

import os
import signal

from hypothesis import settings

settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("new", deadline=None)
settings.load_profile(os.environ.get("WEFT_EXAMPLES", "same"))

# A script that runs the suite in the background has it ignore interrupts, and so would every
# process that is started here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

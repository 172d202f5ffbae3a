"""What holds for every test: no generated example fails for being slow on a busy machine, and
`make test` tries the same examples every time; `make test-deep` tries new ones."""

import os

from hypothesis import settings

settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("new", deadline=None)
settings.load_profile(os.environ.get("WEFT_EXAMPLES", "same"))

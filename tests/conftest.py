"""What holds for every test: no generated example fails for being slow on a busy machine."""

from hypothesis import settings

settings.register_profile("weft", deadline=None)
settings.load_profile("weft")

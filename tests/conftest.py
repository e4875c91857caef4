"""What all tests share: how hypothesis searches.

The default profile tries the same examples in every run, so that a change which breaks nothing
can't turn red, and sets no deadline, since the machine may be busy. To look for new examples:
``pytest --hypothesis-profile=explore``.
"""

from hypothesis import settings

settings.register_profile("fixed", derandomize=True, deadline=None, max_examples=50)
settings.register_profile("explore", deadline=None, max_examples=5_000)
settings.load_profile("fixed")

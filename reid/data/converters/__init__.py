"""From the form a set is released in to one that is read here; `reid convert` calls them.

A folder appears under its name once it is whole. Until then it lies beside it under a name that starts with a dot, and
the next call finishes it.
"""

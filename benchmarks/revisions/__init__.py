"""Parts of ``same_numbers.py``: source trees, what is run in them, what is looked at."""

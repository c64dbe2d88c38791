"""The twin: one live state a patient, folded from an ordered log. Pure: no I/O, no clock; time is an argument.

`Store` holds the rows of one partition as columns, `apply` folds a `Batch` of records into it and returns `Effects`.
"""

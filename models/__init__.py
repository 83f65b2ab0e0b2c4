"""What is estimated from feedback: how several people's labels become one, and how sure that is.

Pure functions over plain values. Where the values come from and where the answers go is left to the rooms
above; of the others this room imports `schemas` only.
"""

"""What comes back to people: datasets, the page, the command line and the demo.

The top floor. Only this room chooses adapters and puts the others together; how events move and are kept is
left to `streams`, what they look like to `schemas`.
"""

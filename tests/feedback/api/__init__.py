"""The read routes, the first page, and the described interface as a whole."""

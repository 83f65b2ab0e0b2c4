"""The views: what is read, kept as rows that follow from predictions and what is said about them.

What other rooms import:

- `streams.views.registry`: `TABLES`, all tables of all views
"""

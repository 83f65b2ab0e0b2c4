"""The store: the views as relational tables, moved forward in one transaction with the position."""

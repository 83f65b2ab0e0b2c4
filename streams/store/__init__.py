"""The store: the views as relational tables, moved forward in one transaction with the position.

What other rooms import:

- `streams.store.port`: `Store`, `Snapshot`, and its errors `StoreRefused`, `StoreUnavailable`
- `streams.store.tables`: `VIEWS_VERSION`; the rows `Prediction`, `Fact`, `DeadLetterRow`,
  `ModelEvent`, `Row`; `Table`, and the tables `AUDITED`, `COUNTS`, `DEAD_LETTERS`, `DECLARATIONS`,
  `FACTS`, `LABELS`, `MODEL_EVENTS`, `PREDICTIONS`; `column_of`, where a row has a column
- `streams.store.sqlite.store`: `SqliteStore`, `create_store`: the store of a home
- `streams.store.compare`: `Difference`, where two stores differ
"""

"""The views: what is read, kept as rows that follow from predictions and what is said about them."""

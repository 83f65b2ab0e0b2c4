"""The fold: from a batch of events and the rows that they can change to what is true after them."""

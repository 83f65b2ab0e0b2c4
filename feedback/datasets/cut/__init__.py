"""The cut: labelled rows, their inputs and splits as files."""

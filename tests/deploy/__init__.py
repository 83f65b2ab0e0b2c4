"""The deployment: its compose files and its image, checked against the project and run by hand."""

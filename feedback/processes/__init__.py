"""What runs: how the processes of an installation are set up."""
